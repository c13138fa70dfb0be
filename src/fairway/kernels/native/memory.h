// Memory for weights, caches and buffers: zeroed, aligned to cache lines, and in huge pages where the
// system offers them, since streams of weights are cut at every small page.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

namespace fairway {

class Memory {
  public:
    Memory() = default;
    explicit Memory(std::size_t bytes);  // small, on its own; throws std::bad_alloc

    std::size_t bytes() const { return bytes_; }
    template <typename T>
    T* as() const {
        return static_cast<T*>(start_);
    }
    // A part of it that keeps the whole alive.
    Memory part(std::size_t offset, std::size_t bytes) const;
    // A whole file, only to be read; processes that map it share its pages. Throws std::system_error.
    static Memory map_file(int descriptor, std::size_t bytes);

  private:
    friend class Arena;
    Memory(std::shared_ptr<void> owner, void* start, std::size_t bytes)
        : owner_(std::move(owner)), start_(start), bytes_(bytes) {}
    std::shared_ptr<void> owner_;
    void* start_ = nullptr;
    std::size_t bytes_ = 0;
};

// Cuts pieces from large mappings. A mapping is returned to the system when its last piece is gone.
class Arena {
  public:
    Memory take(std::size_t bytes);  // throws std::bad_alloc

  private:
    struct Slab {
        std::shared_ptr<void> mapping;
        std::size_t used = 0;
        std::size_t size = 0;
    };
    static std::shared_ptr<Slab> map(std::size_t bytes);
    std::mutex mutex_;
    std::weak_ptr<Slab> current_;
};

}  // namespace fairway
