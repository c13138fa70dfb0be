// The dot products of one tile and some tokens, token by token. Where one instruction serves several
// tokens, that instruction set has a Dots of its own instead.
#pragma once

namespace fairway::FAIRWAY_ISA {

constexpr int kTogether = 1;  // tokens that one `add` serves

template <int Bits, bool Centred, int Tokens>
struct Dots {
    Dot<Bits, Centred> dot[Tokens];
    FAIRWAY_INLINE void begin(int token, std::int32_t start) { dot[token].begin(start); }
    // Four columns in `first`, the next four in `second`; x has all eight, x + stride the next token's.
    FAIRWAY_INLINE void add(int token, Bytes first, Bytes second, const std::int8_t* x, std::size_t) {
        dot[token].add(first, x);
        dot[token].add(second, x + 4);
    }
    FAIRWAY_INLINE Ints total(int token) const { return dot[token].total(); }
};

}  // namespace fairway::FAIRWAY_ISA
