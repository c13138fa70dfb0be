// A team of threads that share one job at a time, the caller among them. Workers join a job if they
// are awake in time. Whoever waits, in a job or for the next one, sleeps within a millisecond.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fairway {

// Where threads wait for each other: they look, since most waits are short, then look and offer
// their core to others between two looks, and soon sleep. Without the sleep a waiting thread would
// seem busy to the system, which then leaves two that work to share another core.
class Bed {
  public:
    // Until `ready()`; whoever makes it so calls `wake` afterwards. `ready` must read seq_cst.
    template <class Ready>
    void wait(Ready ready) {
        if (ready()) return;
        for (Patience patience; patience.lasts();)
            if (ready()) return;
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1);
        changed_.wait(lock, ready);
        sleepers_.fetch_sub(1);
    }
    void wake() {
        if (sleepers_.load() == 0) return;
        { const std::lock_guard<std::mutex> lock(mutex_); }
        changed_.notify_all();
    }

  private:
    class Patience {
      public:
        bool lasts();

      private:
        int looks_ = 0;
        std::chrono::steady_clock::time_point until_;
    };
    std::mutex mutex_;
    std::condition_variable changed_;
    std::atomic<int> sleepers_{0};
};

// Numbers 0 .. items - 1 handed out once each; finished when all of them are done. Each thread has a
// share of neighbouring numbers, in rising order, and then helps with the others' shares. Nobody
// waits for a thread that holds no number, so one that lost its core delays only its own item.
class Counter {
  public:
    explicit Counter(int threads) : shares_(static_cast<std::size_t>(threads)) {}
    void reset(std::size_t items) {
        items_ = items;
        done_.store(0, std::memory_order_relaxed);
        for (std::size_t t = 0; t < shares_.size(); ++t) {
            shares_[t].next.store(first_of(t), std::memory_order_relaxed);
            shares_[t].end = first_of(t + 1);
        }
    }
    std::size_t items() const { return items_; }
    // Where a thread's own share begins.
    std::size_t first_of(std::size_t thread) const { return items_ * thread / shares_.size(); }
    bool take(int thread, std::size_t& item) {
        for (std::size_t t = 0; t < shares_.size(); ++t)
            if (shares_[(static_cast<std::size_t>(thread) + t) % shares_.size()].take(item)) return true;
        return false;
    }
    // Whether these were the last.
    bool done(std::size_t items, Bed& bed) {
        if (done_.fetch_add(items) + items != items_) return false;
        bed.wake();
        return true;
    }
    bool all_done() const { return done_.load() == items_; }
    void wait(Bed& bed) const {
        bed.wait([this] { return all_done(); });
    }

  private:
    struct alignas(64) Share {
        std::atomic<std::size_t> next{0};
        std::size_t end = 0;
        bool take(std::size_t& item) {
            if (next.load(std::memory_order_relaxed) >= end) return false;
            item = next.fetch_add(1, std::memory_order_relaxed);
            return item < end;
        }
    };
    std::size_t items_ = 0;
    std::vector<Share> shares_;
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
    // body(item, thread) once for each item 0 .. items - 1.
    template <class Body>
    void share(std::size_t items, Body body) {
        Counter counter(threads_);
        counter.reset(items);
        run([&](int thread) {
            std::size_t item = 0;
            for (; counter.take(thread, item); counter.done(1, bed())) body(item, thread);
            counter.wait(bed());
        });
    }
    // For waits inside a job.
    Bed& bed() { return *bed_; }

  private:
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
    // After a fork the child leaves it behind: its sleepers do not exist there.
    std::unique_ptr<Bed> bed_ = std::make_unique<Bed>();
};

}  // namespace fairway
