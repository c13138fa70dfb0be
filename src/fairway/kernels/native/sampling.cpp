#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace fairway {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kGreedy = 1e-5;
constexpr std::size_t kMostTop = 256;     // sorted while reading
constexpr std::size_t kGroupTokens = 64;  // of the whole vocabulary's first choice
constexpr std::size_t kSorted = 64;       // so few candidates are sorted, more are divided

// How far below the largest logit candidates are looked for next, in temperatures, if they were too few.
double wider(double reach) { return reach < 20 ? reach + 1.5 : kInfinity; }

// Index of the first weight at which the running sum, left in `sums`, exceeds `threshold` of the whole.
std::size_t choose_weight(const float* weights, std::size_t count, double threshold, std::vector<double>& sums) {
    sums.resize(count);
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sums[i] = sum += static_cast<double>(weights[i]);
    const auto found = std::upper_bound(sums.begin(), sums.end(), threshold * sum);
    if (found != sums.end()) return static_cast<std::size_t>(found - sums.begin());
    while (count > 1 && !(weights[count - 1] > 0)) --count;
    return count - 1;
}

// The order of candidates: the highest logit first, and the lower id of equals.
constexpr auto before = [](const auto& a, const auto& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
};

}  // namespace

std::optional<std::int32_t> Chooser::choose(const float* logits, std::size_t width, const Draw& draw) {
    const std::size_t best = kernels_.argmax(logits, width);
    const Row row{logits, width, logits[best]};
    if (!std::isfinite(row.highest) || !kernels_.all_numbers(logits, width)) return std::nullopt;
    if (draw.temperature < kGreedy) return static_cast<std::int32_t>(best);
    if (draw.top_k > 0 && draw.top_k < width) return from_first(row, draw);
    if (draw.min_p > 0) return from_reaching(row, draw);
    if (draw.top_p < 1) return from_nucleus(row, draw);
    return from_all(row, draw);
}

Score Chooser::score(const float* logits, std::size_t width, std::size_t count) {
    const float highest = logits[kernels_.argmax(logits, width)];
    Score score{std::numeric_limits<double>::quiet_NaN(), {}};
    if (!std::isfinite(highest) || !kernels_.all_numbers(logits, width)) return score;
    score.log_sum_exp = static_cast<double>(highest) + std::log(kernels_.total_weight(logits, width, highest, 1.0f));
    count = std::min(count, width);
    if (count == 0) return score;
    most_likely(logits, width, count);
    for (std::size_t i = 0; i < count; ++i) score.top.emplace_back(ids_[i], logits[ids_[i]]);
    return score;
}

// Leaves the ids of the `count` largest logits at the beginning of `ids_`, in their order.
void Chooser::most_likely(const float* logits, std::size_t width, std::size_t count) {
    ids_.resize(count <= kMostTop ? count : width);
    if (count <= kMostTop) {
        values_.resize(count);
        return kernels_.top(logits, width, count, values_.data(), ids_.data());
    }
    std::iota(ids_.begin(), ids_.end(), 0);
    const auto earlier = [&](std::int32_t a, std::int32_t b) {
        return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
    };
    std::partial_sort(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(count), ids_.end(), earlier);
}

// First a group of tokens that are equal modulo the number of groups, then a token in it.
std::int32_t Chooser::from_all(const Row& row, const Draw& draw) {
    const std::size_t groups = (row.width + kGroupTokens - 1) / kGroupTokens;
    const auto factor = static_cast<float>(1 / draw.temperature);
    values_.resize(groups);
    kernels_.group_weights(row.logits, row.width, row.highest, factor, groups, values_.data());
    const std::size_t group = choose_weight(values_.data(), groups, draw.uniform, sums_);
    const double earlier = group ? sums_[group - 1] : 0.0, here = static_cast<double>(values_[group]);
    const double target = std::clamp((draw.uniform * sums_.back() - earlier) / here, 0.0, 1.0);
    float inside[kGroupTokens];
    std::size_t count = 0;
    for (std::size_t id = group; id < row.width; id += groups) inside[count++] = (row.logits[id] - row.highest) * factor;
    kernels_.exp(inside, inside, count);
    return static_cast<std::int32_t>(group + groups * choose_weight(inside, count, target, sums_));
}

std::int32_t Chooser::from_first(const Row& row, const Draw& draw) {
    std::size_t count = draw.top_k;
    if (count <= kMostTop) {
        values_.resize(count);
        ids_.resize(count);
        kernels_.top(row.logits, row.width, count, values_.data(), ids_.data());
        candidates_.resize(count);
        for (std::size_t i = 0; i < count; ++i)
            candidates_[i] = {values_[i], ids_[i], std::exp((static_cast<double>(values_[i]) - static_cast<double>(row.highest)) / draw.temperature)};
    } else {
        for (double reach = 8;; reach = wider(reach)) {
            collect(row, static_cast<double>(row.highest) - reach * draw.temperature, draw.temperature);
            if (candidates_.size() >= count || reach == kInfinity) break;
        }
        count = std::min(count, candidates_.size());  // some may be impossible
        std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(count) - 1, candidates_.end(), before);
        candidates_.resize(count);
    }
    return pick_left(draw);
}

std::int32_t Chooser::from_reaching(const Row& row, const Draw& draw) {
    // A little generous; the exact weights decide.
    collect(row, static_cast<double>(row.highest) + draw.temperature * std::log(draw.min_p) - 1e-3, draw.temperature);
    return pick_left(draw);
}

std::int32_t Chooser::from_nucleus(const Row& row, const Draw& draw) {
    const auto factor = static_cast<float>(1 / draw.temperature);
    const double total = kernels_.total_weight(row.logits, row.width, row.highest, factor), wanted = draw.top_p * total;
    // About what a normal distribution needs; the flatter, the deeper.
    for (double reach = 5 + std::log(total);; reach = wider(reach)) {
        collect(row, static_cast<double>(row.highest) - reach * draw.temperature, draw.temperature);
        if (mass() >= wanted || reach == kInfinity) break;
    }
    return pick(find(candidates_.size(), [&](double sum) { return sum >= wanted; }), draw.uniform);
}

// Candidates with a logit of at least `bound`.
void Chooser::collect(const Row& row, double bound, double temperature) {
    const auto lowest = std::nextafter(static_cast<float>(bound), -std::numeric_limits<float>::infinity());
    ids_.resize(row.width);
    candidates_.resize(kernels_.above(row.logits, row.width, lowest, ids_.data()));
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        const float logit = row.logits[ids_[i]];
        candidates_[i] = {logit, ids_[i], std::exp((static_cast<double>(logit) - static_cast<double>(row.highest)) / temperature)};
    }
}

double Chooser::mass() const {
    return std::accumulate(candidates_.begin(), candidates_.end(), 0.0, [](double sum, const Candidate& c) { return sum + c.weight; });
}

// Min-p and top-p among the candidates alone.
std::int32_t Chooser::pick_left(const Draw& draw) {
    const auto unlikely = [&](const Candidate& c) { return c.weight < draw.min_p; };
    candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), unlikely), candidates_.end());
    const double all = mass(), wanted = draw.top_p * all;
    if (draw.top_p >= 1) return pick({candidates_.size() - 1, all}, draw.uniform);
    return pick(find(candidates_.size(), [&](double sum) { return sum >= wanted; }), draw.uniform);
}

// Of the candidates up to `last`, the first at which the running sum exceeds its share `uniform`.
std::int32_t Chooser::pick(Found last, double uniform) {
    const double target = uniform * last.sum;
    return candidates_[find(last.index + 1, [=](double sum) { return sum > target; }).index].id;
}

// The first of `count` candidates, in their order, at which the running sum of weights is enough; else
// the last that weighs anything. Those before it end up before it.
template <typename Enough>
Chooser::Found Chooser::find(std::size_t count, Enough enough) {
    const auto all = candidates_.begin();
    std::size_t begin = 0, end = count;
    double sum = 0;
    while (end - begin > kSorted) {
        const std::size_t middle = begin + (end - begin) / 2;
        std::nth_element(all + begin, all + middle, all + end, before);
        double first = 0;
        for (std::size_t i = begin; i < middle; ++i) first += candidates_[i].weight;
        if (enough(sum + first)) {
            end = middle;
        } else {
            sum += first;
            begin = middle;
        }
    }
    std::sort(all + begin, all + end, before);
    Found found{begin, sum};
    for (std::size_t i = begin; i < end; ++i) {
        if (candidates_[i].weight > 0 || i == begin) found = {i, sum + candidates_[i].weight};
        sum += candidates_[i].weight;
        if (enough(sum)) break;
    }
    return found;
}

}  // namespace fairway
