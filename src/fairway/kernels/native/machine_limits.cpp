#include "machine_limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "memory.h"

namespace fairway {

namespace {

constexpr std::size_t kItemBytes = std::size_t{1} << 20;
constexpr std::size_t kItemSteps = 40000;  // of products, some hundred microseconds
constexpr std::size_t kItemsPerThread = 4;
constexpr std::size_t kItemsPerPass = 8;  // for a thread to read: a pass is short, the whole buffer is not cached

// Seconds that the team takes for all items.
template <typename Body>
double seconds(Team& team, std::size_t items, Body body) {
    const auto start = std::chrono::steady_clock::now();
    team.share(items, [&](std::size_t item, int) { body(item); });
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double reading_rate(Team& team, const Kernels& kernels, std::size_t bytes, int passes) {
    const std::size_t items = std::max<std::size_t>(bytes / kItemBytes, 1);
    Arena arena;
    const Memory buffer = arena.take(items * kItemBytes);
    const auto part = [&](std::size_t item) { return buffer.as<std::uint8_t>() + item * kItemBytes; };
    seconds(team, items, [&](std::size_t item) { std::fill_n(part(item), kItemBytes, std::uint8_t{1}); });
    const std::size_t now = std::min(items, static_cast<std::size_t>(team.size()) * kItemsPerPass);
    double best = 0;
    for (std::size_t pass = 0; pass < static_cast<std::size_t>(passes); ++pass) {
        const auto read = [&](std::size_t item) { kernels.read(part((pass * now + item) % items), kItemBytes); };
        best = std::max(best, static_cast<double>(now * kItemBytes) / seconds(team, now, read));
    }
    return best;
}

double product_rate(Team& team, std::size_t (*multiply)(std::size_t steps), int passes) {
    double best = 0;
    for (int pass = 0; pass < passes; ++pass) {
        std::atomic<std::size_t> operations{0};
        const std::size_t items = static_cast<std::size_t>(team.size()) * kItemsPerThread;
        const double taken = seconds(team, items, [&](std::size_t) { operations += multiply(kItemSteps); });
        best = std::max(best, static_cast<double>(operations.load()) / taken);
    }
    return best;
}

}  // namespace fairway
