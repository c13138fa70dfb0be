// Small pieces come from calloc-like allocation, large ones from the system directly.
#include "memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace fairway {

namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kLarge = std::size_t{1} << 22;

std::size_t round_up(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

}  // namespace

Memory::Memory(std::size_t bytes) : bytes_(round_up(bytes ? bytes : 1)), mapped_(bytes_ >= kLarge) {
    if (!mapped_) {
        start_ = std::aligned_alloc(kLine, bytes_);
        if (!start_) throw std::bad_alloc();
        std::memset(start_, 0, bytes_);
        return;
    }
    start_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start_ == MAP_FAILED) {
        start_ = nullptr;
        throw std::bad_alloc();
    }
#ifdef MADV_HUGEPAGE
    madvise(start_, bytes_, MADV_HUGEPAGE);  // a refusal costs speed only
#endif
}

Memory::~Memory() {
    if (mapped_ && start_)
        munmap(start_, bytes_);
    else
        std::free(start_);
}

}  // namespace fairway
