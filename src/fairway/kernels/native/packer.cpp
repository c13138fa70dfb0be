#include "packer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "float16.h"

namespace fairway {

namespace {

constexpr std::size_t kLine = 64;
constexpr std::uint16_t kOne = 0x3C00;  // as float16

// All weights of the process, packed next to each other.
Arena& arena() {
    static Arena shared;
    return shared;
}

std::size_t value_bytes(WeightType type) { return is_integer(type) ? 1 : element_bytes(type); }

// Rounds half to even; NaN stays NaN.
std::uint16_t to_bf16(float value) {
    const std::uint32_t bits = to_bits(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FC0u;
    return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

template <typename Element, typename Convert>
void spread(const void* values, std::size_t count, std::uint8_t* tile, std::size_t lane, Convert convert) {
    auto* out = reinterpret_cast<Element*>(tile) + lane;
    for (std::size_t c = 0; c < count; ++c) out[c * kTile] = convert(values, c);
}

template <typename Element>
Element same(const void* values, std::size_t c) {
    return static_cast<const Element*>(values)[c];
}

}  // namespace

// What one thread needs to quantise a row.
struct Packer::Scratch {
    std::vector<float> floats;
    std::vector<std::uint8_t> codes;  // padded to whole groups with zeros
};

Packer::Packer(const Form& form, std::shared_ptr<Team> team, const Kernels& kernels)
    : form_(form), weights_(lay_out(form)), memory_(arena().take(packed_bytes(weights_))), team_(std::move(team)),
      kernels_(kernels) {
    if (!is_integer(form.type)) return;
    scales_of_row_ = (form.columns + form.group - 1) / form.group;
    scales_.resize(form.rows * scales_of_row_);
    if (form.has_offsets) offsets_.resize(scales_.size());
}

std::uint8_t* Packer::tile_of(std::size_t row) const {
    return memory_.as<std::uint8_t>() + row / kTile * weights_.tile_bytes;
}

// Calls body(row, index in the slice, scratch) for the next `rows` rows. A thread does all that a slice
// has of a tile, and nobody else writes there.
template <typename Body>
void Packer::for_rows(std::size_t rows, Body body) {
    if (rows > form_.rows - added_) throw std::invalid_argument("more rows than the matrix has");
    if (rows == 0) return;
    const std::size_t first = added_, end = added_ + rows, first_tile = first / kTile;
    std::vector<Scratch> scratches(static_cast<std::size_t>(team_->size()));
    team_->share((end - 1) / kTile + 1 - first_tile, [&](std::size_t tile, int thread) {
        Scratch& scratch = scratches[static_cast<std::size_t>(thread)];
        scratch.floats.resize(form_.columns);
        scratch.codes.resize(weights_.groups * kGroup);
        const std::size_t start = std::max(first, (first_tile + tile) * kTile);
        for (std::size_t row = start; row < std::min(end, (first_tile + tile + 1) * kTile); ++row)
            body(row, row - first, scratch);
    });
    added_ = end;
}

void Packer::add(WeightType type, const void* values, std::size_t rows) {
    const auto* bytes = static_cast<const std::uint8_t*>(values);
    const std::size_t row_bytes = form_.columns * value_bytes(type);
    for_rows(rows, [&](std::size_t row, std::size_t index, Scratch& scratch) {
        const void* source = bytes + index * row_bytes;
        if (type == form_.type) {
            if (type == WeightType::f32)
                spread<float>(source, form_.columns, tile_of(row), row % kTile, same<float>);
            else
                spread<std::uint16_t>(source, form_.columns, tile_of(row), row % kTile, same<std::uint16_t>);
            return;
        }
        kernels_.to_floats(type, source, form_.columns, scratch.floats.data());
        if (!is_integer(form_.type)) return pack_floats(scratch.floats.data(), row);
        float* scales = scales_.data() + row * scales_of_row_;
        if (form_.type == WeightType::int8)
            kernels_.quantize_int8(scratch.floats.data(), form_.columns, form_.group, scratch.codes.data(), scales);
        else
            kernels_.quantize_low(scratch.floats.data(), form_.columns, bits_of(form_.type), scratch.codes.data(), scales);
        pack_codes(scratch.codes.data(), row);
    });
}

void Packer::add(const GroupedRows& source) {
    const std::size_t first = added_ * scales_of_row_, count = source.rows * scales_of_row_;
    for_rows(source.rows, [&](std::size_t row, std::size_t index, Scratch& scratch) {
        std::memcpy(scratch.codes.data(), source.values + index * form_.columns, form_.columns);
        pack_codes(scratch.codes.data(), row);
    });
    std::copy(source.scales, source.scales + count, scales_.begin() + static_cast<std::ptrdiff_t>(first));
    if (form_.has_offsets)
        std::copy(source.offsets, source.offsets + count, offsets_.begin() + static_cast<std::ptrdiff_t>(first));
}

void Packer::pack_floats(const float* values, std::size_t row) {
    const auto at = [](const void* source, std::size_t c) { return static_cast<const float*>(source)[c]; };
    std::uint8_t* tile = tile_of(row);
    if (form_.type == WeightType::f32)
        spread<float>(values, form_.columns, tile, row % kTile, at);
    else if (form_.type == WeightType::f16)
        spread<std::uint16_t>(values, form_.columns, tile, row % kTile, [&](auto s, auto c) { return to_f16(at(s, c)); });
    else
        spread<std::uint16_t>(values, form_.columns, tile, row % kTile, [&](auto s, auto c) { return to_bf16(at(s, c)); });
}

// Four columns at a time, as kernels.h draws them: the lane's word in each line of a group.
void Packer::pack_codes(const std::uint8_t* codes, std::size_t row) {
    std::uint8_t* tile = tile_of(row) + 4 * (row % kTile);
    for (std::size_t g = 0; g < weights_.groups; ++g) {
        std::uint8_t* at = tile + g / 2 * weights_.chunk_bytes + g % 2 * code_bytes(weights_);
        std::uint32_t quads[kGroup / 4];
        std::memcpy(quads, codes + g * kGroup, kGroup);
        if (form_.type == WeightType::int8) {
            for (std::size_t j = 0; j < kGroup / 4; ++j) {
                const std::uint32_t word = quads[j] ^ 0x80808080u;
                std::memcpy(at + j * kLine, &word, 4);
            }
            continue;
        }
        for (std::size_t j = 0; j < kGroup / 8; ++j) {
            const std::uint32_t word = (quads[2 * j] & 0x0F0F0F0Fu) | (quads[2 * j + 1] & 0x0F0F0F0Fu) << 4;
            std::memcpy(at + j * kLine, &word, 4);
        }
        pack_high_bits(quads, at + kGroup / 8 * kLine);
    }
}

// The bits above the lowest four, as many codes to a line as there is room for.
void Packer::pack_high_bits(const std::uint32_t* quads, std::uint8_t* at) const {
    const int high = bits_of(form_.type) - 4, each = 8 / std::max(high, 1);
    for (int line = 0; line < high; ++line) {
        std::uint32_t word = 0;
        for (int q = 0; q < each; ++q) word |= (quads[line * each + q] >> 4 & 0x01010101u * ((1u << high) - 1)) << q * high;
        std::memcpy(at + static_cast<std::size_t>(line) * kLine, &word, 4);
    }
}

// The power of two that brings the largest of all scales and offsets just below float16's largest.
void Packer::find_factor() {
    float largest = 0;
    for (const auto* values : {&scales_, &offsets_})
        for (const float value : *values) largest = std::max(largest, std::fabs(value));
    if (!(largest > 0) || !std::isfinite(largest)) return;
    int exponent = 0;
    std::frexp(largest, &exponent);  // largest < 2^exponent
    weights_.factor = std::ldexp(1.0f, std::clamp(exponent - 15, -120, 120));
}

// A row's scale or offset number g; `at` is where those of a chunk begin.
void Packer::pack_half(std::size_t row, std::size_t g, std::size_t at, std::uint16_t half) {
    const std::size_t in_chunk = kChunk / form_.group;
    std::uint8_t* out = tile_of(row) + at + 2 * (row % kTile);
    std::memcpy(out + g / in_chunk * weights_.chunk_bytes + g % in_chunk * kTile * 2, &half, 2);
}

// No scale is 0, since kernels multiply it by a power of two in its exponent: a group of zeros, and
// the part of a last group that has no columns, have scale 1 and codes that mean 0.
void Packer::pack_scales(std::size_t row) {
    const std::size_t padded = weights_.groups * kGroup / form_.group;
    for (std::size_t g = 0; g < padded; ++g) {
        const float scale = g < scales_of_row_ ? scales_[row * scales_of_row_ + g] : 0;
        const std::uint16_t half = to_f16(scale / weights_.factor);
        const bool is_zero = (half & 0x7FFFu) == 0;
        if (is_zero) clear_codes(row, g);
        pack_half(row, g, weights_.scales_at, is_zero ? kOne : half);
    }
}

void Packer::clear_codes(std::size_t row, std::size_t g) {
    std::uint8_t* tile = tile_of(row);
    for (std::size_t column = g * form_.group; column < (g + 1) * form_.group; ++column)
        set_code(weights_, tile, row % kTile, column, zero_of(weights_));
}

std::shared_ptr<Matrix> Packer::finish() {
    if (added_ != form_.rows) throw std::invalid_argument("rows of the matrix are missing");
    if (is_integer(form_.type)) {
        find_factor();
        added_ = 0;
        for_rows(form_.rows, [&](std::size_t row, std::size_t, Scratch&) {
            pack_scales(row);
            for (std::size_t g = 0; g < scales_of_row_ && form_.has_offsets; ++g)
                pack_half(row, g, weights_.offsets_at, to_f16(offsets_[row * scales_of_row_ + g] / weights_.factor));
        });
    }
    return std::make_shared<Matrix>(weights_, std::move(memory_));
}

}  // namespace fairway
