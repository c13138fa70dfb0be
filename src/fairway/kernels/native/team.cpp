// Spinning is bounded everywhere: after a short while a waiting thread yields its core, so that two
// engines, or an engine and anything else, can share cores.
#include "team.h"

#include <sched.h>
#include <unistd.h>

#include <chrono>

namespace fairway {

namespace {

constexpr int kSpinsBeforeYield = 4000;
constexpr auto kAwakeAfterJob = std::chrono::microseconds(500);

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

template <typename Done>
void spin_until(Done done) {
    for (int spins = 0; !done(); ++spins) {
        if (spins < kSpinsBeforeYield)
            relax();
        else
            sched_yield();
    }
}

}  // namespace

void Barrier::wait() {
    if (threads_ == 1) return;
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
        arrived_.store(0, std::memory_order_relaxed);
        round_.store(round + 1, std::memory_order_release);
        return;
    }
    spin_until([&] { return round_.load(std::memory_order_acquire) != round; });
}

Team::Team(int threads) : threads_(threads), barrier_(threads) { start(); }

void Team::start() {
    process_ = static_cast<int>(getpid());
    const unsigned seen = generation_.load();
    for (int thread = 1; thread < threads_; ++thread)
        workers_.emplace_back([this, thread, seen] { work(thread, seen); });
}

void Team::renew_after_fork() {
    if (process_ == static_cast<int>(getpid())) return;
    for (std::thread& worker : workers_) worker.detach();
    workers_.clear();
    (void)bed_.release();
    bed_ = std::make_unique<Bed>();
    start();
}

Team::~Team() {
    if (process_ != static_cast<int>(getpid())) {  // the workers stayed in the parent
        for (std::thread& worker : workers_) worker.detach();
        (void)bed_.release();
        return;
    }
    {
        const std::lock_guard<std::mutex> lock(bed_->mutex);
        stopping_.store(true);
    }
    bed_->wake.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void Team::run(const std::function<void(int)>& job) {
    const std::lock_guard<std::mutex> turn(turn_);
    renew_after_fork();
    if (threads_ == 1) return job(0);
    job_ = &job;
    running_.store(threads_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    if (bed_->sleepers.load(std::memory_order_seq_cst) > 0) {
        { const std::lock_guard<std::mutex> lock(bed_->mutex); }
        bed_->wake.notify_all();
    }
    job(0);
    spin_until([&] { return running_.load(std::memory_order_acquire) == 0; });
}

void Team::work(int thread, unsigned seen) {
    while (next_job(seen)) {
        (*job_)(thread);
        running_.fetch_sub(1, std::memory_order_release);
    }
}

bool Team::next_job(unsigned& seen) {
    const auto ready = [&] { return generation_.load(std::memory_order_seq_cst) != seen || stopping_.load(); };
    const auto until = std::chrono::steady_clock::now() + kAwakeAfterJob;
    for (int spins = 1; !ready(); ++spins) {
        relax();
        if (spins % 64) continue;
        if (spins > kSpinsBeforeYield) sched_yield();
        if (std::chrono::steady_clock::now() < until) continue;
        std::unique_lock<std::mutex> lock(bed_->mutex);
        bed_->sleepers.fetch_add(1, std::memory_order_seq_cst);
        bed_->wake.wait(lock, ready);
        bed_->sleepers.fetch_sub(1, std::memory_order_seq_cst);
        break;
    }
    if (stopping_.load()) return false;
    seen = generation_.load(std::memory_order_seq_cst);
    return true;
}

}  // namespace fairway
