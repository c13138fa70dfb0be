// What choosing a token needs of a row of logits. Of equal values the one with the lower id comes first;
// what is not a number is never chosen before a number.
#include "curves.h"
#include "variant.h"
#include "vector.h"

namespace fairway::FAIRWAY_ISA {

namespace {

// Places a value behind all that are not smaller; the last one falls out.
void insert(float value, std::int32_t id, std::size_t size, float* values, std::int32_t* ids) {
    std::size_t at = size - 1;
    for (; at > 0 && values[at - 1] < value; --at) {
        values[at] = values[at - 1];
        ids[at] = ids[at - 1];
    }
    values[at] = value;
    ids[at] = id;
}

bool any_above(const float* x, std::size_t n, Floats bound) {
    const Mask inside = lanes(0, static_cast<std::int64_t>(n));
    return any(bound < select(inside, load_up_to(x, n), bound));
}

}  // namespace

std::size_t argmax(const float* x, std::size_t width) {
    std::size_t best = 0;
    Floats bound = splat(x[0]);
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        if (!any_above(x + i, n, bound)) return;
        for (std::size_t j = i; j < i + n; ++j)
            if (x[j] > x[best]) best = j;
        bound = splat(x[best]);
    });
    return best;
}

void top(const float* x, std::size_t width, std::size_t count, float* values, std::int32_t* ids) {
    constexpr float lowest = -__builtin_inff();
    for (std::size_t i = 0; i < count; ++i) insert(x[i] > lowest ? x[i] : lowest, static_cast<std::int32_t>(i), i + 1, values, ids);
    Floats bound = splat(values[count - 1]);
    for_vectors(width - count, [&](std::size_t i, std::size_t n) {
        const float* at = x + count + i;
        if (!any_above(at, n, bound)) return;
        for (std::size_t j = 0; j < n; ++j)
            if (at[j] > values[count - 1]) insert(at[j], static_cast<std::int32_t>(count + i + j), count, values, ids);
        bound = splat(values[count - 1]);
    });
}

bool all_numbers(const float* x, std::size_t width) {
    const Floats infinity = splat(__builtin_inff()), one = splat(1.0f);
    Floats broken = splat(0.0f);
    for_vectors(width, [&](std::size_t i, std::size_t n) { broken = select(load_up_to(x + i, n) < infinity, broken, one); });
    return !any(splat(0.0f) < broken);
}

std::size_t above(const float* x, std::size_t width, float bound, std::int32_t* ids) {
    std::size_t count = 0;
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        if (!any_above(x + i, n, splat(bound))) return;
        for (std::size_t j = i; j < i + n; ++j) {
            ids[count] = static_cast<std::int32_t>(j);
            count += x[j] > bound;
        }
    });
    return count;
}

double total_weight(const float* x, std::size_t width, float largest, float factor) {
    const Floats base = splat(largest), times = splat(factor);
    Floats sums[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        const Floats weight = exp((load_up_to(x + i, n) - base) * times);
        Floats& sum = sums[i / kLanes % 4];
        sum = sum + (n == kLanes ? weight : select(lanes(0, static_cast<std::int64_t>(n)), weight, splat(0.0f)));
    });
    float each[4 * kLanes];
    double total = 0;
    for (std::size_t s = 0; s < 4; ++s) store(each + s * kLanes, sums[s]);
    for (const float value : each) total += static_cast<double>(value);
    return total;
}

void group_weights(const float* x, std::size_t width, float largest, float factor, std::size_t groups, float* out) {
    const Floats base = splat(largest), times = splat(factor);
    for_vectors(groups, [&](std::size_t g, std::size_t n) {
        Floats sum = splat(0.0f);
        for (std::size_t at = g; at < width; at += groups) {
            const std::size_t count = smaller(n, width - at);
            const Floats weight = exp((load_up_to(x + at, count) - base) * times);
            sum = sum + (count == kLanes ? weight : select(lanes(0, static_cast<std::int64_t>(count)), weight, splat(0.0f)));
        }
        store_up_to(out + g, n, sum);
    });
}

}  // namespace fairway::FAIRWAY_ISA
