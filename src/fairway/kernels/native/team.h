// A team of threads that runs one job at a time on all of them, the caller among them. Workers
// spin for a moment after a job and then sleep; nothing runs between jobs.
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

// Waits inside a job until all threads of the team have arrived.
class Barrier {
  public:
    explicit Barrier(int threads) : threads_(threads) {}
    void wait();

  private:
    const int threads_;
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<unsigned> round_{0};
};

class Team {
  public:
    explicit Team(int threads);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int size() const { return threads_; }
    Barrier& barrier() { return barrier_; }
    // Calls job(0) .. job(size - 1), each on its own thread, and returns when all are done. Several
    // callers take turns. After a fork the child runs with fresh workers.
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
    void work(int thread, unsigned seen);
    bool next_job(unsigned& seen);

    const int threads_;
    Barrier barrier_;
    std::mutex turn_;
    std::vector<std::thread> workers_;
    int process_ = 0;
    const std::function<void(int)>* job_ = nullptr;
    alignas(64) std::atomic<unsigned> generation_{0};
    alignas(64) std::atomic<int> running_{0};
    std::atomic<bool> stopping_{false};
    std::unique_ptr<Bed> bed_ = std::make_unique<Bed>();
};

}  // namespace fairway
