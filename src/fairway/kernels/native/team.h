// A team of threads that share one job at a time, the caller among them. Workers join a job if they
// are awake in time, spin for a moment after it and then sleep; nothing runs between jobs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fairway {

// Waits without burning a core for long: a few pauses, then the core is offered to others.
class Patience {
  public:
    void wait();

  private:
    int spins_ = 0;
};

// Numbers 0 .. items - 1 handed out once each; finished when all of them are done. Nobody waits
// for a thread that holds none, so a thread that lost its core delays only its own item.
class alignas(64) Counter {
  public:
    void reset(std::size_t items) {
        items_ = items;
        done_.store(0, std::memory_order_relaxed);
        next_.store(0, std::memory_order_relaxed);
    }
    bool take(std::size_t& item) {
        if (next_.load(std::memory_order_relaxed) >= items_) return false;
        item = next_.fetch_add(1, std::memory_order_relaxed);
        return item < items_;
    }
    void done(std::size_t items) { done_.fetch_add(items, std::memory_order_acq_rel); }
    void wait() const {
        for (Patience patience; done_.load(std::memory_order_acquire) != items_;) patience.wait();
    }

  private:
    std::size_t items_ = 0;
    std::atomic<std::size_t> next_{0};
    alignas(64) std::atomic<std::size_t> done_{0};
};

class Team {
  public:
    explicit Team(int threads);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int size() const { return threads_; }
    // Calls job(0) on this thread and, on those workers that are free in time, job(1) ..
    // job(size - 1). Returns when all that began have ended; the job must share its work by
    // counters, not by thread number. Several callers take turns. Works in a forked child too.
    void run(const std::function<void(int)>& job);

  private:
    // Where workers sleep. After a fork the child leaves it behind: its waiters do not exist there.
    struct Bed {
        std::mutex mutex;
        std::condition_variable wake;
        std::atomic<int> sleepers{0};
    };
    void start();
    void renew_after_fork();
    void work(int thread, std::uint64_t seen);
    bool next_job(std::uint64_t& seen);
    void wait_for_change(std::uint64_t seen);

    const int threads_;
    std::mutex turn_;
    std::vector<std::thread> workers_;
    int process_ = 0;
    const std::function<void(int)>* job_ = nullptr;
    // Number of the job, then one bit "open", then 16 bits: workers inside.
    alignas(64) std::atomic<std::uint64_t> state_{0};
    std::atomic<bool> stopping_{false};
    std::unique_ptr<Bed> bed_ = std::make_unique<Bed>();
};

}  // namespace fairway
