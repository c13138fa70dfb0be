#include "team.h"

#include <sched.h>
#include <unistd.h>

#include <chrono>

namespace fairway {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLooksBeforeYield = 2000;
constexpr auto kYielding = std::chrono::microseconds(500);
constexpr std::uint64_t kOpen = 1u << 16, kInside = kOpen - 1;

std::uint64_t number_of(std::uint64_t state) { return state / (2 * kOpen); }

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

bool Bed::Patience::lasts() {
    if (++looks_ < kLooksBeforeYield) {
        relax();
        return true;
    }
    const auto now = Clock::now();
    if (looks_ == kLooksBeforeYield) until_ = now + kYielding;
    if (now > until_) return false;
    sched_yield();
    return true;
}

Team::Team(int threads) : threads_(threads) { start(); }

void Team::start() {
    process_ = static_cast<int>(getpid());
    const std::uint64_t seen = number_of(state_.load());
    for (int thread = 1; thread < threads_; ++thread)
        workers_.emplace_back([this, thread, seen] { work(thread, seen); });
}

void Team::renew_after_fork() {
    if (process_ == static_cast<int>(getpid())) return;
    for (std::thread& worker : workers_) worker.detach();
    workers_.clear();
    (void)bed_.release();
    bed_ = std::make_unique<Bed>();
    state_.store(number_of(state_.load()) * 2 * kOpen);
    start();
}

Team::~Team() {
    if (process_ != static_cast<int>(getpid())) {  // the workers stayed in the parent
        for (std::thread& worker : workers_) worker.detach();
        (void)bed_.release();
        return;
    }
    stopping_.store(true);
    bed_->wake();
    for (std::thread& worker : workers_) worker.join();
}

void Team::run(const std::function<void(int)>& job) {
    const std::lock_guard<std::mutex> turn(turn_);
    renew_after_fork();
    if (threads_ == 1) return job(0);
    job_ = &job;
    state_.store((number_of(state_.load()) + 1) * 2 * kOpen + kOpen);
    bed_->wake();
    job(0);
    state_.fetch_and(~kOpen);
    bed_->wait([this] { return (state_.load() & kInside) == 0; });
}

void Team::work(int thread, std::uint64_t seen) {
    while (next_job(seen)) {
        (*job_)(thread);
        if ((state_.fetch_sub(1) & kInside) == 1) bed_->wake();
    }
}

// Joins a job that is open and not the one seen last; false when the team ends.
bool Team::next_job(std::uint64_t& seen) {
    while (!stopping_.load()) {
        std::uint64_t state = state_.load();
        if (number_of(state) == seen) {
            wait_for_change(seen);
            continue;
        }
        if (state & kOpen && !state_.compare_exchange_weak(state, state + 1)) continue;
        seen = number_of(state);
        if (state & kOpen) return true;
    }
    return false;
}

void Team::wait_for_change(std::uint64_t seen) {
    bed_->wait([&] { return number_of(state_.load()) != seen || stopping_.load(); });
}

}  // namespace fairway
