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

// Byte and shift of a code, from the start of its tile.
struct Place {
    std::size_t byte;
    int shift;
};

Place place_of(const Weights& w, std::size_t lane, std::size_t column) {
    const std::size_t chunk = column / kChunk * w.chunk_bytes + column % kChunk / kGroup * code_bytes(w);
    const std::size_t quad = column % kGroup / 4, inner = 4 * lane + column % 4;
    if (w.type == WeightType::int8) return {chunk + quad * kLine + inner, 0};
    return {chunk + quad / 2 * kLine + inner, quad % 2 ? 4 : 0};
}

// The scale of a column's group, from the start of its tile; the offset lies as far behind.
std::size_t scale_place(const Weights& w, std::size_t lane, std::size_t column) {
    const std::size_t number = column % kChunk / w.group * kTile + lane;
    return column / kChunk * w.chunk_bytes + w.scales_at + number * 2;
}

}  // namespace

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
    const bool int4 = weights_.type == WeightType::int4;
    const int zero = int4 ? (weights_.centred ? 8 : 0) : 128;
    const auto half_at = [&](std::size_t at) {
        std::uint16_t half;
        std::memcpy(&half, tile + at, 2);
        return from_f16(half) * weights_.factor;
    };
    for (std::size_t c = 0; c < weights_.columns; ++c) {
        const Place place = place_of(weights_, lane, c);
        const std::size_t scale_at = scale_place(weights_, lane, c);
        const int code = tile[place.byte] >> place.shift & (int4 ? 15 : 255);
        float value = half_at(scale_at) * static_cast<float>(code - zero);
        if (weights_.has_offsets) value += half_at(scale_at + weights_.offsets_at - weights_.scales_at);
        out[c] = value * scale;
    }
}

}  // namespace fairway
