// The layout of a packed matrix, and reading single rows back for the embedding.
#include "matrix.h"

#include <cstring>
#include <stdexcept>
#include <utility>

#include "float16.h"

namespace fairway {

namespace {

constexpr std::size_t kLine = 64;

std::size_t up_to(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

// Some bits of a code: a byte from the start of its tile, and where in it they begin.
struct Place {
    std::size_t byte;
    int shift;
};

std::size_t start_of(const Weights& w, std::size_t lane, std::size_t column) {
    return column / kChunk * w.chunk_bytes + column % kChunk / kGroup * code_bytes(w) + 4 * lane + column % 4;
}

// A whole code of 8 bits, else the lowest four.
Place low_place(const Weights& w, std::size_t lane, std::size_t column) {
    const std::size_t start = start_of(w, lane, column), quad = column % kGroup / 4;
    if (w.type == WeightType::int8) return {start + quad * kLine, 0};
    return {start + quad / 2 * kLine, quad % 2 ? 4 : 0};
}

// What is above them.
Place high_place(const Weights& w, std::size_t lane, std::size_t column) {
    const std::size_t bit = column % kGroup / 4 * static_cast<std::size_t>(bits_of(w.type) - 4);
    return {start_of(w, lane, column) + (kGroup / 8 + bit / 8) * kLine, static_cast<int>(bit % 8)};
}

// The scale of a column's group, from the start of its tile; the offset lies as far behind.
std::size_t scale_place(const Weights& w, std::size_t lane, std::size_t column) {
    const std::size_t number = column % kChunk / w.group * kTile + lane;
    return column / kChunk * w.chunk_bytes + w.scales_at + number * 2;
}

}  // namespace

int zero_of(const Weights& w) { return w.centred || w.type == WeightType::int8 ? 1 << (bits_of(w.type) - 1) : 0; }

int code_at(const Weights& w, const std::uint8_t* tile, std::size_t lane, std::size_t column) {
    const int bits = bits_of(w.type);
    const Place low = low_place(w, lane, column), high = high_place(w, lane, column);
    if (bits == 8) return tile[low.byte];
    const int above = bits == 4 ? 0 : tile[high.byte] >> high.shift & ((1 << (bits - 4)) - 1);
    return (tile[low.byte] >> low.shift & 15) | above << 4;
}

void set_code(const Weights& w, std::uint8_t* tile, std::size_t lane, std::size_t column, int code) {
    const auto put = [&](const Place& place, int mask, int value) {
        tile[place.byte] = static_cast<std::uint8_t>((tile[place.byte] & ~(mask << place.shift)) | value << place.shift);
    };
    const int bits = bits_of(w.type), low = bits == 8 ? 255 : 15;
    put(low_place(w, lane, column), low, code & low);
    if (bits == 5 || bits == 6) put(high_place(w, lane, column), (1 << (bits - 4)) - 1, code >> 4);
}

Weights lay_out(const Form& form) {
    Weights w;
    w.type = form.type;
    w.rows = form.rows;
    w.columns = form.columns;
    w.tiles = up_to(form.rows, kTile) / kTile;
    w.groups = up_to(form.columns, kGroup) / kGroup;
    if (!is_integer(form.type)) {
        w.tile_bytes = up_to(form.columns * kTile * element_bytes(form.type), kLine);
        return w;
    }
    w.group = form.group;
    w.has_offsets = form.has_offsets;
    w.centred = form.centred;
    w.factor = form.factor;
    const std::size_t scale_bytes = kChunk / w.group * kTile * 2;
    w.scales_at = 2 * code_bytes(w);
    w.offsets_at = w.scales_at + scale_bytes;
    w.chunk_bytes = w.offsets_at + (w.has_offsets ? scale_bytes : 0);
    w.tile_bytes = up_to(w.groups, 2) / 2 * w.chunk_bytes;
    return w;
}

Matrix::Matrix(const Weights& weights, Memory memory) : weights_(weights), memory_(std::move(memory)) {
    if (memory_.bytes() < packed_bytes(weights_)) throw std::invalid_argument("a packed matrix is cut short");
    weights_.data = memory_.as<std::uint8_t>();
}

void Matrix::take(std::size_t row, float scale, float* out) const {
    const std::uint8_t* tile = weights_.data + row / kTile * weights_.tile_bytes;
    if (is_integer(weights_.type))
        take_grouped(tile, row % kTile, scale, out);
    else
        take_dense(tile, row % kTile, scale, out);
}

void Matrix::take_dense(const std::uint8_t* tile, std::size_t lane, float scale, float* out) const {
    for (std::size_t c = 0; c < weights_.columns; ++c) {
        const std::size_t at = c * kTile + lane;
        if (weights_.type == WeightType::f32)
            out[c] = reinterpret_cast<const float*>(tile)[at] * scale;
        else if (weights_.type == WeightType::f16)
            out[c] = from_f16(reinterpret_cast<const std::uint16_t*>(tile)[at]) * scale;
        else
            out[c] = from_bf16(reinterpret_cast<const std::uint16_t*>(tile)[at]) * scale;
    }
}

void Matrix::take_grouped(const std::uint8_t* tile, std::size_t lane, float scale, float* out) const {
    const int zero = zero_of(weights_);
    const auto half_at = [&](std::size_t at) {
        std::uint16_t half;
        std::memcpy(&half, tile + at, 2);
        return from_f16(half) * weights_.factor;
    };
    for (std::size_t c = 0; c < weights_.columns; ++c) {
        const std::size_t scale_at = scale_place(weights_, lane, c);
        float value = half_at(scale_at) * static_cast<float>(code_at(weights_, tile, lane, c) - zero);
        if (weights_.has_offsets) value += half_at(scale_at + weights_.offsets_at - weights_.scales_at);
        out[c] = value * scale;
    }
}

}  // namespace fairway
