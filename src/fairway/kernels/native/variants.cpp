// Which variants this build has and this machine runs.
#include <cstring>

#include "kernels.h"

namespace fairway {

#ifdef FAIRWAY_X86
namespace avx512 {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
#endif

// Null where the variant is unknown or this machine lacks an instruction that it uses.
const Kernels* find_kernels(const char* name) {
#ifdef FAIRWAY_X86
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (!std::strcmp(name, "avx2")) return avx2 ? &avx2::kernels : nullptr;
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512vnni");
    if (!std::strcmp(name, "avx512")) return avx512 ? &avx512::kernels : nullptr;
#endif
    (void)name;
    return nullptr;
}

}  // namespace fairway
