// The functions that every variant defines, in its own namespace; see kernels.h for their meaning.
#pragma once

#include "kernels.h"

namespace fairway::FAIRWAY_ISA {

void quantize(const float* x, std::size_t width, const Quantized& out, std::size_t row);
void linear(const LinearTask& task, Range tiles, Range tokens);
void add_thin(const ThinTask& task, std::size_t tiles, std::size_t tokens);
void rms_norm(const float* x, const float* weight, float* out, std::size_t width, float eps);
void layer_norm(const float* x, const float* weight, const float* bias, float* out, std::size_t width, float eps);
void activate(const float* x, float* out, std::size_t width, Activation activation);
void gate(const float* x, const float* up, float* out, std::size_t width, Activation activation);
void add(const float* x, const float* y, float* out, std::size_t width, float scale);
void soft_cap(float* x, std::size_t width, float cap);
void rotate(float* x, const float* cos, const float* sin, std::size_t half);
void exp_row(const float* x, float* out, std::size_t width);
std::size_t argmax(const float* x, std::size_t width);
void top(const float* x, std::size_t width, std::size_t count, float* values, std::int32_t* ids);
bool all_numbers(const float* x, std::size_t width);
std::size_t above(const float* x, std::size_t width, float bound, std::int32_t* ids);
double total_weight(const float* x, std::size_t width, float largest, float factor);
void group_weights(const float* x, std::size_t width, float largest, float factor, std::size_t groups, float* out);
void write_cache(const LayerCache& cache, const float* k, const float* v, std::size_t block, std::size_t slot);
std::size_t attention_scratch(const AttentionTask& task, std::size_t rows);
void attention(const AttentionTask& task, const AttentionItem& item, float* scratch);
std::size_t attention_partial(const AttentionTask& task, std::size_t rows);
void attend_segments(const AttentionTask& task, const AttentionItem& item, Range segments, float* partials, float* scratch);
void merge_segments(const AttentionTask& task, const AttentionItem& item, std::size_t count, float* partials, float* scratch);

void to_floats(WeightType type, const void* values, std::size_t count, float* out);
void quantize_low(const float* w, std::size_t columns, int bits, std::uint8_t* codes, float* scales);
void quantize_int8(const float* w, std::size_t columns, std::size_t group, std::uint8_t* codes, float* scales);
bool quantize_blocks(const BlockTask& task);

void read(const std::uint8_t* data, std::size_t bytes);
std::size_t multiply_int8(std::size_t steps);
std::size_t multiply_bf16(std::size_t steps);
std::size_t multiply_f32(std::size_t steps);

// Linear by weight type, both in tiles x tokens.
void linear_float(const LinearTask& task, Range tiles, Range tokens);
void linear_int(const LinearTask& task, Range tiles, Range tokens);

}  // namespace fairway::FAIRWAY_ISA
