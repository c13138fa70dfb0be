// This variant's table of functions.
#include "variant.h"

#include "vector.h"

namespace fairway::FAIRWAY_ISA {

extern const Kernels kernels;
const Kernels kernels = {
    FAIRWAY_ISA_NAME,  kTokens,           4 * kQueryRows,  quantize,       linear,   add_thin, rms_norm, layer_norm,
    activate,          gate,              add,             soft_cap,       rotate,   write_cache,
    attention_scratch, attention,         attention_partial, attend_segments, merge_segments,
    argmax,            top,               exp_row,         all_numbers,    above,
    total_weight,      group_weights,     to_floats,       quantize_low,   quantize_int8,
    quantize_blocks,   read,              multiply_int8,     multiply_bf16,   multiply_f32,
};

}  // namespace fairway::FAIRWAY_ISA
