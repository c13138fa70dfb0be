#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace fairway {

namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr std::size_t kSlab = 16 * kHugePage;

std::size_t up_to(std::size_t bytes, std::size_t step) { return (bytes + step - 1) / step * step; }

}  // namespace

Memory::Memory(std::size_t bytes) : bytes_(up_to(std::max(bytes, kLine), kLine)) {
    start_ = std::aligned_alloc(kLine, bytes_);
    if (!start_) throw std::bad_alloc();
    owner_ = std::shared_ptr<void>(start_, &std::free);
    std::memset(start_, 0, bytes_);
}

std::shared_ptr<Arena::Slab> Arena::map(std::size_t bytes) {
    const std::size_t size = up_to(bytes, kHugePage), mapped = size + kHugePage;
    void* start = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) throw std::bad_alloc();
    const std::shared_ptr<void> owner(start, [mapped](void* p) { munmap(p, mapped); });
    void* aligned = reinterpret_cast<void*>(up_to(reinterpret_cast<std::uintptr_t>(start), kHugePage));
#ifdef MADV_HUGEPAGE
    madvise(aligned, size, MADV_HUGEPAGE);  // a refusal costs speed only
#endif
    auto slab = std::make_shared<Slab>();
    slab->mapping = std::shared_ptr<void>(owner, aligned);
    slab->size = size;
    return slab;
}

Memory Arena::take(std::size_t bytes) {
    bytes = up_to(std::max(bytes, kLine), kLine);
    const std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Slab> slab = current_.lock();
    if (!slab || slab->size - slab->used < bytes) {
        slab = map(std::max(bytes, kSlab));
        if (slab->size > bytes) current_ = slab;
    }
    void* start = static_cast<std::uint8_t*>(slab->mapping.get()) + slab->used;
    slab->used += bytes;
    return {slab, start, bytes};
}

}  // namespace fairway
