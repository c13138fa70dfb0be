// Weights of 4, 5, 6 and 8 bits times int8 activations. Products within a group are exact integers; groups
// are scaled and added in rising order, one fused multiply-add each, whatever the block's size.
#include "linear.h"

namespace fairway::FAIRWAY_ISA {

namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kScaleBytes = kTile * 2;

template <int Bits, int Group, bool Offsets, bool Centred>
struct IntBlock {
    static constexpr int tiles = kRowTiles;
    static constexpr int tokens = kTokens;
    static constexpr std::size_t lines = Bits;             // of 64 bytes, in 32 columns
    static constexpr std::size_t parts = kGroup / Group;   // scales in 32 columns
    static constexpr std::size_t group_bytes = lines * kLine;
    static constexpr std::size_t scales_bytes = 2 * parts * kScaleBytes;  // of a chunk
    static constexpr std::size_t chunk_bytes = 2 * group_bytes + scales_bytes * (Offsets ? 2 : 1);

    template <int Tokens>
    using TokenDots = Dots<Bits, Centred, Tokens>;

    template <int Tiles, int Tokens>
    static void run(const LinearTask& task, std::size_t tile, std::size_t token, Ahead ahead) {
        const Weights& w = *task.weights;
        Floats sum[Tiles][Tokens];
        const std::uint8_t* at[Tiles];
        for (int i = 0; i < Tiles; ++i) {
            at[i] = w.data + (tile + static_cast<std::size_t>(i)) * w.tile_bytes;
            for (int m = 0; m < Tokens; ++m) sum[i][m] = splat(0.0f);
        }
        const std::size_t first = token * w.groups;
        if (task.aside) ask(*task.aside, w.groups / 2);
        std::size_t g = 0;
        const std::uint8_t* next = at[0] + Tiles * w.tile_bytes + ahead.part * w.tile_bytes * Tiles / ahead.parts;
        const std::size_t lines_ahead = (Tiles * chunk_bytes / kLine + ahead.parts - 1) / ahead.parts;
        for (; g + 2 <= w.groups; g += 2) {
            if constexpr (Tiles > 1)
                for (std::size_t line = 0; line < lines_ahead; ++line, next += kLine) prefetch(next);
            add_chunk<2>(task.quantized, at, sum, first + g);
        }
        if (g < w.groups) add_chunk<1>(task.quantized, at, sum, first + g);
        for (int i = 0; i < Tiles; ++i)
            for (int m = 0; m < Tokens; ++m)
                finish(task, tile + static_cast<std::size_t>(i), token + static_cast<std::size_t>(m), sum[i][m], w.factor);
    }

    // All at once, before the sums: a question in their loop costs those 4 % who have none.
    static void ask(Aside& aside, std::size_t chunks) {
        for (std::size_t i = 0; i < chunks * aside.each && aside.next < aside.end; ++i) {
            prefetch(aside.next->next);
            aside.next->next += kLine;
            if (aside.next->next >= aside.next->end) ++aside.next;
        }
    }

    // The groups of a chunk, and moves on to the next; `first` is the group of the first token.
    template <int Groups, int Tiles, int Tokens>
    static FAIRWAY_INLINE void add_chunk(const Quantized& x, const std::uint8_t* (&at)[Tiles], Floats (&sum)[Tiles][Tokens],
                                 std::size_t first) {
#pragma GCC unroll 2
        for (std::size_t g = 0; g < Groups; ++g)
#pragma GCC unroll 2
            for (std::size_t part = 0; part < parts; ++part) {
                const std::uint8_t *codes[Tiles], *scales[Tiles];
#pragma GCC unroll 2
                for (int i = 0; i < Tiles; ++i) {
                    codes[i] = at[i] + g * group_bytes;
                    scales[i] = at[i] + 2 * group_bytes + (g * parts + part) * kScaleBytes;
                }
                add_part<Tiles, Tokens>(x, codes, scales, sum, first + g, part);
            }
#pragma GCC unroll 2
        for (int i = 0; i < Tiles; ++i) at[i] += chunk_bytes;
    }

    // `first` is the group of the first token.
    template <int Tiles, int Tokens>
    static FAIRWAY_INLINE void add_part(const Quantized& x, const std::uint8_t* const (&codes)[Tiles],
                                const std::uint8_t* const (&scales)[Tiles], Floats (&sum)[Tiles][Tokens],
                                std::size_t first, std::size_t part) {
        const std::int32_t* starts = parts == 1 ? x.starts : x.half_starts;
        TokenDots<Tokens> dots[Tiles];
#pragma GCC unroll 8
        for (int m = 0; m < Tokens; ++m)
#pragma GCC unroll 2
            for (int i = 0; i < Tiles; ++i)
                dots[i].begin(m, starts[(first + static_cast<std::size_t>(m) * x.groups) * parts + part]);
        const std::int8_t* values = x.values + first * kGroup + part * Group;
#pragma GCC unroll 4
        for (std::size_t eight = 0; eight < Group / 8; ++eight) {
            add_eight<Tiles, Tokens>(dots, codes, part * Group / 8 + eight, values + 8 * eight, x.groups * kGroup);
        }
        add_scaled<Tiles, Tokens>(x, scales, sum, dots, first, part);
    }

    // Columns 8 * eight .. 8 * eight + 7: two lines of int8, else both halves of one line and what is above them.
    template <int Tiles, int Tokens>
    static FAIRWAY_INLINE void add_eight(TokenDots<Tokens> (&dots)[Tiles], const std::uint8_t* const (&codes)[Tiles],
                                 std::size_t eight, const std::int8_t* values, std::size_t stride) {
        Bytes first[Tiles], second[Tiles];
#pragma GCC unroll 2
        for (int i = 0; i < Tiles; ++i) {
            Bytes line = load_line(codes[i] + eight * (Bits == 8 ? 2 : 1) * kLine);
            if constexpr (Bits != 8) hide(line);  // or each use of it would be a load
            first[i] = Bits == 8 ? line : low_halves(line);
            second[i] = Bits == 8 ? load_line(codes[i] + (2 * eight + 1) * kLine) : high_halves(line);
            if constexpr (Bits == 5 || Bits == 6) {
                constexpr int high = Bits - 4;
                const std::size_t bit = 2 * eight * high;
                Bytes above = load_line(codes[i] + (4 + bit / 8) * kLine);
                hide(above);
                first[i] = with_high_bits<high>(first[i], above, static_cast<int>(bit % 8));
                second[i] = with_high_bits<high>(second[i], above, static_cast<int>(bit % 8) + high);
            }
        }
#pragma GCC unroll 8
        for (int m = 0; m < Tokens; m += kTogether)
#pragma GCC unroll 2
            for (int i = 0; i < Tiles; ++i)
                dots[i].add(m, first[i], second[i], values + static_cast<std::size_t>(m) * stride, stride);
    }

    template <int Tiles, int Tokens>
    static FAIRWAY_INLINE void add_scaled(const Quantized& x, const std::uint8_t* const (&scales)[Tiles],
                                  Floats (&sum)[Tiles][Tokens], const TokenDots<Tokens> (&dots)[Tiles],
                                  std::size_t first, std::size_t part) {
        Exponents scale[Tiles];
        Floats offset[Tiles];
#pragma GCC unroll 2
        for (int i = 0; i < Tiles; ++i) {
            const auto* halves = reinterpret_cast<const std::uint16_t*>(scales[i]);
            scale[i] = exponents(load(halves));
            if constexpr (Offsets) offset[i] = load(halves + scales_bytes / 2);
        }
        const float* sums = parts == 1 ? x.sums : x.half_sums;
#pragma GCC unroll 8
        for (int m = 0; m < Tokens; ++m) {
            const std::size_t group = first + static_cast<std::size_t>(m) * x.groups;
#pragma GCC unroll 2
            for (int i = 0; i < Tiles; ++i) {
                sum[i][m] = fma(to_floats(dots[i].total(m)), scaled(scale[i], x.scales + group), sum[i][m]);
                if constexpr (Offsets) sum[i][m] = fma(offset[i], splat(sums[group * parts + part]), sum[i][m]);
            }
        }
    }
};

template <int Bits, int Group>
void run_grouped(const LinearTask& task, Range tiles, Range tokens) {
    const Weights& w = *task.weights;
    if (!w.has_offsets) return run_tiles<IntBlock<Bits, Group, false, true>>(task, tiles, tokens);
    if (w.centred) return run_tiles<IntBlock<Bits, Group, true, true>>(task, tiles, tokens);
    if constexpr (Bits != 8) run_tiles<IntBlock<Bits, Group, true, false>>(task, tiles, tokens);
}

}  // namespace

void linear_int(const LinearTask& task, Range tiles, Range tokens) {
    const bool halves = task.weights->group == 16;
    switch (bits_of(task.weights->type)) {
        case 4:
            return halves ? run_grouped<4, 16>(task, tiles, tokens) : run_grouped<4, 32>(task, tiles, tokens);
        case 5:
            return halves ? run_grouped<5, 16>(task, tiles, tokens) : run_grouped<5, 32>(task, tiles, tokens);
        case 6:
            return halves ? run_grouped<6, 16>(task, tiles, tokens) : run_grouped<6, 32>(task, tiles, tokens);
        default:
            return halves ? run_grouped<8, 16>(task, tiles, tokens) : run_grouped<8, 32>(task, tiles, tokens);
    }
}

}  // namespace fairway::FAIRWAY_ISA
