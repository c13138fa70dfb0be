#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <system_error>

namespace fairway {

namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr std::size_t kSlab = 16 * kHugePage;

std::size_t up_to(std::size_t bytes, std::size_t step) { return (bytes + step - 1) / step * step; }

}  // namespace

Memory::Memory(std::size_t bytes) : bytes_(up_to(std::max(bytes, kLine), kLine)) {
    if (posix_memalign(&start_, kLine, bytes_)) throw std::bad_alloc();
    owner_ = std::shared_ptr<void>(start_, &std::free);
    std::memset(start_, 0, bytes_);
}

Memory Memory::part(std::size_t offset, std::size_t bytes) const {
    if (offset > bytes_ || bytes > bytes_ - offset) throw std::out_of_range("a part lies outside its memory");
    return {owner_, static_cast<std::uint8_t*>(start_) + offset, bytes};
}

Memory Memory::map_file(int descriptor, std::size_t bytes) {
    void* start = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    if (start == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
#ifdef MADV_HUGEPAGE
    madvise(start, bytes, MADV_HUGEPAGE);  // a refusal costs speed only, here and below
#endif
#ifdef MADV_POPULATE_READ
    madvise(start, bytes, MADV_POPULATE_READ);
#endif
    return {std::shared_ptr<void>(start, [bytes](void* p) { munmap(p, bytes); }), start, bytes};
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
