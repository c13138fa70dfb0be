// Choosing a token from a row of logits by temperature, top-k, top-p and min-p; kernels/sampling.py is
// its meaning. The result depends on the row and the draw alone; whatever is summed has a fixed order.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "kernels.h"

namespace fairway {

// temperature 0: the largest logit; top_k 0: all; uniform lies in [0, 1).
struct Draw {
    double temperature, top_p, min_p, uniform;
    std::size_t top_k;
};

// What log probabilities are made of: log(sum(exp(logit))), not a number where the row has none, and the
// most likely tokens with their logits.
struct Score {
    double log_sum_exp;
    std::vector<std::pair<std::int32_t, float>> top;
};

// One thread's memory between rows.
class Chooser {
  public:
    explicit Chooser(const Kernels& kernels) : kernels_(kernels) {}
    // Nothing where the row is not all numbers below infinity, or has none above minus infinity.
    std::optional<std::int32_t> choose(const float* row, std::size_t width, const Draw& draw);
    // With the `count` most likely tokens, at most all.
    Score score(const float* row, std::size_t width, std::size_t count);

  private:
    struct Candidate {
        float logit;
        std::int32_t id;
        double weight;  // as a multiple of the most likely one's
    };
    struct Found {
        std::size_t index;
        double sum;  // of the weights up to it
    };
    // The logits of one choice.
    struct Row {
        const float* logits;
        std::size_t width;
        float highest;
    };
    std::int32_t from_all(const Row& row, const Draw& draw);
    std::int32_t from_first(const Row& row, const Draw& draw);
    std::int32_t from_reaching(const Row& row, const Draw& draw);
    std::int32_t from_nucleus(const Row& row, const Draw& draw);
    void most_likely(const float* logits, std::size_t width, std::size_t count);
    void collect(const Row& row, double bound, double temperature);
    double mass() const;
    std::int32_t pick_left(const Draw& draw);
    std::int32_t pick(Found last, double uniform);
    template <typename Enough>
    Found find(std::size_t count, Enough enough);

    const Kernels& kernels_;
    std::vector<Candidate> candidates_;
    std::vector<double> sums_;
    std::vector<float> values_;
    std::vector<std::int32_t> ids_;
};

}  // namespace fairway
