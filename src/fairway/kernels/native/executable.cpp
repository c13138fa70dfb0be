// Executable, second half: its memory, and running a step on the team.
#include "executable.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace fairway {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

Executable::Executable(std::shared_ptr<Team> team, const Kernels& kernels, const CacheShape& cache,
                       const Limits& limits, const std::vector<std::size_t>& widths, const std::vector<bool>& outputs)
    : team_(std::move(team)), kernels_(kernels), cache_(cache), limits_(limits), widths_(widths), outputs_(outputs) {
    for (std::size_t i = 0; i < widths.size(); ++i)
        buffers_.push_back(arena_.take(widths[i] * (outputs[i] ? limits.outputs : limits.tokens) * sizeof(float)));
    const CacheLayout layout{cache.block_size, cache.kv_heads, cache.head_size, cache.type};
    for (std::size_t layer = 0; layer < cache.layers; ++layer) {
        keys_.push_back(arena_.take(cache.blocks * cache.kv_heads * key_bytes(layout)));
        values_.push_back(arena_.take(cache.blocks * cache.kv_heads * value_bytes(layout)));
    }
    run_.threads = team_->size();
    lora_.tokens = limits.tokens;
    lora_.stretches.resize(static_cast<std::size_t>(team_->size()));
    for (int t = 0; t < team_->size(); ++t) choosers_.emplace_back(kernels_);
}

Rows Executable::rows(View view) const {
    return {buffers_[view.buffer].as<float>() + view.start, widths_[view.buffer], view.width};
}

std::size_t Executable::num_bytes() const {
    std::size_t bytes = 0;
    for (const auto* memories : {&buffers_, &keys_, &values_, &kept_})
        for (const Memory& memory : *memories) bytes += memory.bytes();
    for (const auto& q : quantized_) bytes += q->memory.bytes();
    bytes += lora_.shrunk.bytes();
    return bytes;
}

void Executable::place_tokens() {
    const Step& step = run_.step;
    run_.blocks.resize(step.tokens);
    run_.slots.resize(step.tokens);
    for (std::size_t s = 0; s < step.sequences; ++s)
        for (auto t = static_cast<std::size_t>(step.starts[s]); t < static_cast<std::size_t>(step.starts[s + 1]); ++t) {
            const auto position = static_cast<std::size_t>(step.positions[t]);
            run_.blocks[t] = static_cast<std::size_t>(step.block_tables[s * step.max_blocks + position / cache_.block_size]);
            run_.slots[t] = position % cache_.block_size;
        }
}

void Executable::put_adapter(std::size_t slot, std::vector<std::pair<std::size_t, LoraLayer>> layers) {
    constexpr std::size_t most = 1 << 16;
    if (slot >= most) throw std::invalid_argument("there is no such slot for an adapter");
    for (const auto& [number, layer] : layers) {
        if (number >= sites_.size()) throw std::invalid_argument("an adapter changes a product that is not there");
        sites_[number].check(layer);
    }
    drop_adapter(slot);
    if (adapters_.size() <= slot) adapters_.resize(slot + 1);
    adapters_[slot] = true;
    for (auto& [number, layer] : layers) sites_[number].put(slot, std::move(layer));
}

void Executable::drop_adapter(std::size_t slot) {
    if (slot >= adapters_.size()) return;
    adapters_[slot] = false;
    for (LoraSite& site : sites_)
        if (site.find(slot)) site.put(slot, {});
}

void Executable::put_cached(const std::int32_t* places, std::size_t count, const float* keys, const float* values) {
    for (std::size_t i = 0; i < count; ++i)
        if (places[i] < 0 || static_cast<std::size_t>(places[i]) >= cache_.blocks * cache_.block_size)
            throw std::invalid_argument("a place lies outside the cache");
    const std::size_t width = cache_.kv_heads * cache_.head_size;
    for (std::size_t layer = 0; layer < cache_.layers; ++layer) {
        const LayerCache cache = layer_cache(layer);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t from = (layer * count + i) * width, place = static_cast<std::size_t>(places[i]);
            kernels_.write_cache(cache, keys + from, values + from, place / cache_.block_size, place % cache_.block_size);
        }
    }
}

void Executable::check_adapters(const Step& step) const {
    for (std::size_t s = 0; step.adapters && s < step.sequences; ++s) {
        const std::int32_t slot = step.adapters[s];
        if (slot < -1 || (slot >= 0 && (static_cast<std::size_t>(slot) >= adapters_.size() || !adapters_[static_cast<std::size_t>(slot)])))
            throw std::invalid_argument("a sequence names an adapter that is not loaded");
    }
}

void Executable::find_adapted() {
    const Step& step = run_.step;
    run_.adapted.clear();
    for (std::size_t s = 0; step.adapters && s < step.sequences; ++s) {
        const Range tokens{static_cast<std::size_t>(step.starts[s]), static_cast<std::size_t>(step.starts[s + 1])};
        if (step.adapters[s] < 0 || tokens.begin == tokens.end) continue;
        const auto slot = static_cast<std::size_t>(step.adapters[s]);
        if (!run_.adapted.empty() && run_.adapted.back().slot == slot && run_.adapted.back().tokens.end == tokens.begin)
            run_.adapted.back().tokens.end = tokens.end;
        else
            run_.adapted.push_back({tokens, slot});
    }
}

void Executable::run(const Step& step) {
    check_step(step, cache_, limits_);
    check_adapters(step);
    if (opening_) stages_.insert(stages_.begin(), std::move(opening_));
    while (counters_.size() < stages_.size()) counters_.emplace_back(team_->size());
    run_.step = step;
    place_tokens();
    find_adapted();
    for (std::size_t i = 0; i < stages_.size(); ++i) counters_[i].reset(stages_[i]->prepare(run_));
    team_->run([this](int thread) { work(thread); });
}

// A stage of one item is done at once by whoever ended the stage before it, while the others wait for both.
void Executable::work(int thread) {
    Clock::time_point start = Clock::now();
    bool ended = false;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        std::size_t item = 0, finished = 0;
        if (is_handed_on(i)) {
            if (ended) stages_[i]->work(run_, 0, thread);
            finished = ended;
        } else {
            for (; counters_[i].take(thread, item); ++finished) stages_[i]->work(run_, item, thread);
        }
        ended = finished && counters_[i].done(finished, team_->bed());
        wait(i, thread);
        if (!profiling_ || thread) continue;
        profile_[stages_[i]->kind()] += seconds_since(start);
        start = Clock::now();
    }
}

bool Executable::is_handed_on(std::size_t stage) const {
    return stage > 0 && counters_[stage].items() == 1 && counters_[stage - 1].items() > 0;
}

// Until a stage is done; meanwhile the thread asks memory for what it will read in the next stages that have work.
void Executable::wait(std::size_t stage, int thread) {
    std::size_t next = stage + 1, part = 0;
    for (std::size_t left = 3; left > 0 && next < stages_.size() && !counters_[stage].all_done();) {
        const bool has_work = counters_[next].items() > 0;
        if (has_work && stages_[next]->warm(run_, counters_[next].first_of(static_cast<std::size_t>(thread)), part++)) continue;
        if (has_work) --left;
        ++next;
        part = 0;
    }
    counters_[stage].wait(team_->bed());
}

// Calls body(number, thread) for 0 .. count - 1, on this thread alone where there is one: to wake others
// takes longer than that.
template <typename Body>
void Executable::for_each(std::size_t count, Body body) {
    if (count == 1) return body(0, 0);
    team_->share(count, body);
}

std::vector<std::int32_t> Executable::argmax(View logits, std::size_t count) {
    const Rows from = rows(logits);
    std::vector<std::int32_t> best(count);
    for_each(count, [&](std::size_t row, int) {
        best[row] = static_cast<std::int32_t>(kernels_.argmax(row_of(from, row), from.width));
    });
    return best;
}

void Executable::choose(View logits, const std::int32_t* rows, const std::vector<Draw>& draws, std::size_t width,
                        std::int32_t* ids) {
    const Rows from = rows_to_read(logits, rows, draws.size(), width);
    for_each(draws.size(), [&](std::size_t i, int thread) {
        Chooser& chooser = choosers_[static_cast<std::size_t>(thread)];
        ids[i] = chooser.choose(row_of(from, static_cast<std::size_t>(rows[i])), width, draws[i]).value_or(-1);
    });
}

std::vector<Score> Executable::score(View logits, const std::int32_t* rows, const std::vector<std::size_t>& counts,
                                     std::size_t width) {
    const Rows from = rows_to_read(logits, rows, counts.size(), width);
    std::vector<Score> scores(counts.size());
    for_each(counts.size(), [&](std::size_t i, int thread) {
        Chooser& chooser = choosers_[static_cast<std::size_t>(thread)];
        scores[i] = chooser.score(row_of(from, static_cast<std::size_t>(rows[i])), width, counts[i]);
    });
    return scores;
}

Rows Executable::rows_to_read(View logits, const std::int32_t* rows, std::size_t count, std::size_t width) const {
    const Rows from = this->rows(logits);
    if (width < 1 || width > from.width) throw std::invalid_argument("there are fewer logits than tokens to choose from");
    for (std::size_t i = 0; i < count; ++i)
        if (rows[i] < 0 || static_cast<std::size_t>(rows[i]) >= run_.step.outputs)
            throw std::invalid_argument("a row is named that the last run did not write");
    return from;
}

}  // namespace fairway
