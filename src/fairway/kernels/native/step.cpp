#include "step.h"

#include <stdexcept>
#include <string>

namespace fairway {

namespace {

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

void check_count(std::size_t count, std::size_t least, std::size_t most, const char* what) {
    if (count < least || count > most)
        refuse("the step has " + std::to_string(count) + " " + what + ", allowed are " + std::to_string(least) + " to " +
               std::to_string(most));
}

bool outside(std::int32_t value, std::size_t end) { return value < 0 || static_cast<std::size_t>(value) >= end; }

void check_sequence(const Step& step, std::size_t s, const CacheShape& cache, const Limits& limits) {
    const auto begin = static_cast<std::size_t>(step.starts[s]), end = static_cast<std::size_t>(step.starts[s + 1]);
    if (begin == end) return;
    const std::string name = "sequence " + std::to_string(s);
    const std::int64_t first = step.positions[begin];
    for (std::size_t t = begin; t < end; ++t)
        if (first < 0 || step.positions[t] != first + static_cast<std::int64_t>(t - begin))
            refuse("positions of " + name + " are not consecutive from 0 or more");
    const std::int32_t last = step.positions[end - 1];
    if (outside(last, limits.positions))
        refuse("a position lies outside the table of " + std::to_string(limits.positions) + " positions");
    const std::size_t blocks = static_cast<std::size_t>(last) / cache.block_size + 1;
    if (blocks > step.max_blocks) refuse("position " + std::to_string(last) + " of " + name + " lies outside its block table");
    for (std::size_t b = 0; b < blocks; ++b)
        if (outside(step.block_tables[s * step.max_blocks + b], cache.blocks))
            refuse(name + " names a block outside the cache of " + std::to_string(cache.blocks));
}

}  // namespace

void check_step(const Step& step, const CacheShape& cache, const Limits& limits) {
    check_count(step.tokens, 1, limits.tokens, "tokens");
    check_count(step.sequences, 1, limits.sequences, "sequences");
    check_count(step.outputs, 0, limits.outputs, "outputs");
    if (step.starts[0] != 0 || step.starts[step.sequences] != static_cast<std::int64_t>(step.tokens))
        refuse("starts must rise from 0 to the number of tokens");
    for (std::size_t s = 0; s < step.sequences; ++s)
        if (step.starts[s + 1] < step.starts[s] || outside(step.starts[s + 1], step.tokens + 1))
            refuse("starts must rise from 0 to the number of tokens");
    for (std::size_t t = 0; t < step.tokens; ++t)
        if (outside(step.token_ids[t], limits.vocabulary))
            refuse("a token id lies outside the vocabulary of " + std::to_string(limits.vocabulary));
    for (std::size_t i = 0; i < step.outputs; ++i)
        if (outside(step.output_rows[i], step.tokens)) refuse("an output row lies outside the step");
    for (std::size_t s = 0; s < step.sequences; ++s) check_sequence(step, s, cache, limits);
}

}  // namespace fairway
