// Memory for weights, caches and buffers: aligned, zeroed by the system on first touch, and in huge
// pages where the system offers them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace fairway {

class Memory {
  public:
    Memory() = default;
    explicit Memory(std::size_t bytes);  // all zeros; throws std::bad_alloc
    ~Memory();
    Memory(Memory&& other) noexcept { swap(other); }
    Memory& operator=(Memory&& other) noexcept {
        swap(other);
        return *this;
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    std::size_t bytes() const { return bytes_; }
    template <typename T>
    T* as() const {
        return static_cast<T*>(start_);
    }

  private:
    void swap(Memory& other) noexcept {
        std::swap(start_, other.start_);
        std::swap(bytes_, other.bytes_);
        std::swap(mapped_, other.mapped_);
    }
    void* start_ = nullptr;
    std::size_t bytes_ = 0;
    bool mapped_ = false;
};

}  // namespace fairway
