// Packing weights into tiles, and reading single rows back for the embedding.
#include "matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "float16.h"

namespace fairway {

namespace {

constexpr std::size_t kLine = 64;

std::size_t up_to(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

// All weights of the process, packed next to each other.
Arena& arena() {
    static Arena shared;
    return shared;
}

std::size_t element_bytes(WeightType type) { return type == WeightType::f32 ? 4 : 2; }

Weights shape(WeightType type, std::size_t rows, std::size_t columns) {
    Weights w;
    w.type = type;
    w.rows = rows;
    w.columns = columns;
    w.tiles = up_to(rows, kTile) / kTile;
    w.groups = up_to(columns, kGroup) / kGroup;
    return w;
}

// The power of two that brings the largest of all scales and offsets just below float16's largest.
float factor_for(const GroupedSource& s) {
    const std::size_t count = s.rows * up_to(s.columns, s.group) / s.group;
    float largest = 0;
    for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(s.scales[i]));
    if (s.offsets)
        for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(s.offsets[i]));
    if (!(largest > 0) || !std::isfinite(largest)) return 1;
    int exponent = 0;
    std::frexp(largest, &exponent);  // largest < 2^exponent
    return std::ldexp(1.0f, std::clamp(exponent - 15, -120, 120));
}

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

void pack_codes(const GroupedSource& s, const Weights& w, std::size_t row, std::uint8_t* tile) {
    const std::uint8_t* values = s.values + row * s.columns;
    for (std::size_t c = 0; c < s.columns; ++c) {
        const Place place = place_of(w, row % kTile, c);
        const unsigned code = s.int4 ? (values[c] & 15u) << place.shift : values[c] ^ 0x80u;
        tile[place.byte] = static_cast<std::uint8_t>(s.int4 ? tile[place.byte] | code : code);
    }
}

void pack_scales(const GroupedSource& s, const Weights& w, std::size_t row, std::uint8_t* tile) {
    const std::size_t count = up_to(s.columns, s.group) / s.group;
    for (std::size_t g = 0; g < count; ++g) {
        std::uint8_t* at = tile + scale_place(w, row % kTile, g * s.group);
        const std::uint16_t scale = to_f16(s.scales[row * count + g] / w.factor);
        std::memcpy(at, &scale, 2);
        if (!s.offsets) continue;
        const std::uint16_t offset = to_f16(s.offsets[row * count + g] / w.factor);
        std::memcpy(at + w.offsets_at - w.scales_at, &offset, 2);
    }
}

// All tiles of a matrix, shared out over the team.
template <typename Body>
void for_tiles(Team& team, std::size_t tiles, Body body) {
    Counter counter;
    counter.reset(tiles);
    team.run([&](int) {
        std::size_t tile = 0;
        for (; counter.take(tile); counter.done(1)) body(tile);
        counter.wait();
    });
}

template <typename Element>
void pack_dense(const Element* values, const Weights& w, std::uint8_t* data, std::size_t tile) {
    auto* out = reinterpret_cast<Element*>(data + tile * w.tile_bytes);
    const std::size_t rows = std::min(kTile, w.rows - tile * kTile);
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < w.columns; ++c) out[c * kTile + r] = values[(tile * kTile + r) * w.columns + c];
}

}  // namespace

Matrix::Matrix(const Weights& weights)
    : weights_(weights), memory_(arena().take(weights.tiles * weights.tile_bytes)) {
    weights_.data = memory_.as<std::uint8_t>();
}

std::shared_ptr<Matrix> Matrix::dense(WeightType type, const void* values, std::size_t rows, std::size_t columns,
                                      Team& team) {
    Weights w = shape(type, rows, columns);
    w.tile_bytes = up_to(columns * kTile * element_bytes(type), kLine);
    std::shared_ptr<Matrix> made(new Matrix(w));
    auto* data = made->memory_.as<std::uint8_t>();
    for_tiles(team, w.tiles, [&](std::size_t tile) {
        if (type == WeightType::f32)
            pack_dense(static_cast<const float*>(values), w, data, tile);
        else
            pack_dense(static_cast<const std::uint16_t*>(values), w, data, tile);
    });
    return made;
}

std::shared_ptr<Matrix> Matrix::grouped(const GroupedSource& source, Team& team) {
    Weights w = shape(source.int4 ? WeightType::int4 : WeightType::int8, source.rows, source.columns);
    w.group = source.group;
    w.has_offsets = source.offsets != nullptr;
    w.centred = source.centred;
    w.factor = factor_for(source);
    const std::size_t scale_bytes = kChunk / w.group * kTile * 2;
    w.scales_at = 2 * code_bytes(w);
    w.offsets_at = w.scales_at + scale_bytes;
    w.chunk_bytes = w.offsets_at + (w.has_offsets ? scale_bytes : 0);
    w.tile_bytes = up_to(w.groups, 2) / 2 * w.chunk_bytes;
    std::shared_ptr<Matrix> made(new Matrix(w));
    auto* data = made->memory_.as<std::uint8_t>();
    for_tiles(team, w.tiles, [&](std::size_t tile) {
        std::uint8_t* at = data + tile * w.tile_bytes;
        for (std::size_t row = tile * kTile; row < std::min(w.rows, (tile + 1) * kTile); ++row) {
            pack_codes(source, w, row, at);
            pack_scales(source, w, row, at);
        }
    });
    return made;
}

void Matrix::take(std::size_t row, float scale, float* out) const {
    const std::uint8_t* tile = weights_.data + row / kTile * weights_.tile_bytes;
    if (weights_.type == WeightType::int4 || weights_.type == WeightType::int8)
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
