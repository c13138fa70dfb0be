// What the machine can do at most: reading memory, and multiplying 8-bit integers, all threads at once.
// Prints one line of JSON. The argument is the number of threads.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

constexpr size_t kBytesEach = size_t{256} << 20;  // well beyond any cache
constexpr int kPasses = 8;
constexpr int kSteps = 16000000;
constexpr int kChains = 16;  // enough to hide the latency of a multiply

static std::atomic<uint64_t> sink{0};

static void read_memory(const uint64_t* data, size_t count) {
    uint64_t sums[8] = {};
    for (size_t i = 0; i < count; i += 8)
        for (int lane = 0; lane < 8; ++lane) sums[lane] ^= data[i + lane];
    for (uint64_t sum : sums) sink += sum;
}

#if defined(__AVX512VNNI__)
constexpr double kOpsEach = 128;  // 64 products and 64 additions
using Lanes = __m512i;
static Lanes start(int i) { return _mm512_set1_epi32(i); }
static Lanes step(Lanes sum, Lanes a, Lanes b) { return _mm512_dpbusd_epi32(sum, a, b); }
static uint64_t fold(Lanes sum) { return static_cast<uint64_t>(_mm512_reduce_add_epi32(sum)); }
#elif defined(__AVX2__)
constexpr double kOpsEach = 64;
using Lanes = __m256i;
static Lanes start(int i) { return _mm256_set1_epi32(i); }
static Lanes step(Lanes sum, Lanes a, Lanes b) {
#if defined(__AVXVNNI__)
    return _mm256_dpbusd_avx_epi32(sum, a, b);
#else
    const Lanes pairs = _mm256_maddubs_epi16(_mm256_xor_si256(a, sum), b);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}
static uint64_t fold(Lanes sum) { return static_cast<uint64_t>(_mm256_extract_epi32(sum, 0)); }
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr double kOpsEach = 32;
using Lanes = int32x4_t;
static Lanes start(int i) { return vdupq_n_s32(i); }
static Lanes step(Lanes sum, Lanes a, Lanes b) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}
static uint64_t fold(Lanes sum) { return static_cast<uint64_t>(vaddvq_s32(sum)); }
#else
constexpr double kOpsEach = 2;
using Lanes = int32_t;
static Lanes start(int i) { return i; }
static Lanes step(Lanes sum, Lanes a, Lanes b) { return sum + (a & 127) * (b & 127); }
static uint64_t fold(Lanes sum) { return static_cast<uint64_t>(sum); }
#endif

static void multiply() {
    Lanes sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = start(i);
    const Lanes a = start(0x01020304), b = start(0x05060708);
    for (int n = 0; n < kSteps; ++n) {
#pragma GCC unroll 16
        for (int i = 0; i < kChains; ++i) {
            sums[i] = step(sums[i], a, b);
#if defined(__GNUC__) && defined(__x86_64__)
            asm volatile("" : "+v"(sums[i]));  // keep the chain as it is written
#endif
        }
    }
    for (Lanes sum : sums) sink += fold(sum);
}

template <typename Work>
static double seconds(int threads, Work work) {
    std::vector<std::thread> team;
    const auto begin = std::chrono::steady_clock::now();
    for (int t = 0; t < threads; ++t) team.emplace_back(work, t);
    for (auto& each : team) each.join();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int main(int argc, char** argv) {
    const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
    const size_t count = kBytesEach / sizeof(uint64_t);
    std::vector<std::vector<uint64_t>> data(threads);
    seconds(threads, [&](int t) { data[t].assign(count, t + 1); });
    double memory = 0, int8 = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
        memory = std::max(memory, threads * double(kBytesEach) /
                                      seconds(threads, [&](int t) { read_memory(data[t].data(), count); }));
        int8 = std::max(int8, threads * double(kSteps) * kChains * kOpsEach /
                                  seconds(threads, [](int) { multiply(); }));
    }
    std::printf("{\"memory_bytes_per_s\": %.0f, \"int8_ops_per_s\": %.0f}\n", memory, int8);
    return sink == 42;
}
