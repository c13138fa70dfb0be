// Which variants this build has and this machine runs.
#include <cstring>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace fairway {

// FAIRWAY_VARIANTS, from CMake, is a list: VARIANT(name) VARIANT(name) ...
#define VARIANT(name)             \
    namespace name {              \
    extern const Kernels kernels; \
    }
FAIRWAY_VARIANTS
#undef VARIANT

namespace {

bool is(const char* name, const char* other) { return !std::strcmp(name, other); }

// Whether this machine has every instruction that the variant is compiled with.
#if defined(__x86_64__)

bool has_avx_vnni() {
#ifdef FAIRWAY_AVX_VNNI_AS_EVEX
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl");
#else
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & 1u << 4;
#endif
}

bool runs(const char* name) {
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (is(name, "avx2")) return avx2;
    if (is(name, "avx2_vnni")) return avx2 && has_avx_vnni();
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

#elif defined(__aarch64__) && defined(__linux__)

constexpr unsigned long kDotProduct = 1ul << 20;  // of AT_HWCAP
constexpr unsigned long kInt8Matrices = 1ul << 13;  // of AT_HWCAP2

bool runs(const char* name) {
    const bool dot = getauxval(AT_HWCAP) & kDotProduct;
    return is(name, "neon_i8mm") ? dot && getauxval(AT_HWCAP2) & kInt8Matrices : dot;
}

#elif defined(__aarch64__) && defined(__APPLE__)

bool runs(const char* name) {
    const auto has = [](const char* feature) {
        int value = 0;
        std::size_t size = sizeof value;
        return sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value;
    };
    const bool dot = has("hw.optional.arm.FEAT_DotProd");
    return is(name, "neon_i8mm") ? dot && has("hw.optional.arm.FEAT_I8MM") : dot;
}

#else

[[maybe_unused]] bool runs(const char*) { return false; }

#endif

}  // namespace

// Null where the variant is unknown or this machine lacks an instruction that it uses.
const Kernels* find_kernels(const char* name) {
#define VARIANT(isa) \
    if (is(name, #isa)) return runs(name) ? &isa::kernels : nullptr;
    FAIRWAY_VARIANTS
#undef VARIANT
    return nullptr;
}

}  // namespace fairway
