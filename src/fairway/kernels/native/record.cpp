// Executable, first half: turning operations into stages.
#include <cmath>
#include <cstring>

#include "executable.h"

namespace fairway {

namespace {

std::size_t up_to(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

bool overlap(View a, View b) {
    return a.buffer == b.buffer && a.start < b.start + b.width && b.start < a.start + a.width;
}

}  // namespace

const float* Executable::keep(const float* values, std::size_t count, std::size_t padded) {
    kept_.push_back(arena_.take(std::max(count, padded) * sizeof(float)));
    std::memcpy(kept_.back().as<float>(), values, count * sizeof(float));
    return kept_.back().as<float>();
}

RowStage& Executable::row_stage(const char* kind, bool outputs) {
    if (open_rows_ && open_rows_->outputs() == outputs) return *open_rows_;
    auto stage = std::make_unique<RowStage>(kind, outputs);
    open_rows_ = stage.get();
    stages_.push_back(std::move(stage));
    return *open_rows_;
}

void Executable::add_rows(const char* kind, View written, RowOperation operation) {
    row_stage(kind, outputs_[written.buffer]).add(std::move(operation));
    forget(written);
}

void Executable::forget(View written) {
    for (auto& q : quantized_)
        if (overlap(q->view, written)) q->current = false;
}

// The int8 form of a view: computed here unless an earlier linear layer already needed it.
const Quantized& Executable::quantized(View x) {
    QuantizedView* found = nullptr;
    const auto same = [&](View y) { return y.buffer == x.buffer && y.start == x.start && y.width == x.width; };
    for (auto& q : quantized_)
        if (same(q->view)) found = q.get();
    if (!found) {
        const std::size_t rows = outputs_[x.buffer] ? limits_.outputs : limits_.tokens;
        const std::size_t groups = up_to(x.width, kGroup) / kGroup, count = rows * groups;
        const std::size_t bytes = count * (kGroup + 7 * 4) + rows * sizeof(float);
        auto made = std::make_unique<QuantizedView>(QuantizedView{x, arena_.take(bytes), {}, false});
        Quantized& q = made->values;
        q.groups = groups;
        q.values = made->memory.as<std::int8_t>();
        q.scales = reinterpret_cast<float*>(q.values + count * kGroup);
        q.sums = q.scales + count;
        q.half_sums = q.sums + count;
        q.starts = reinterpret_cast<std::int32_t*>(q.half_sums + 2 * count);
        q.half_starts = q.starts + count;
        q.poison = reinterpret_cast<float*>(q.half_starts + 2 * count);
        found = made.get();
        quantized_.push_back(std::move(made));
    }
    if (!found->current && gated_ && stages_.back().get() == gated_ && same(gated_out_)) {
        gated_->quantize_into(found->values);
        found->current = true;
    }
    if (!found->current) {
        const Rows from = rows(x);
        const Quantized to = found->values;
        const auto quantize = kernels_.quantize;
        row_stage("quantize", outputs_[x.buffer]).add([=](const Run&, std::size_t row) {
            to.poison[row] = 0.0f;
            quantize(row_of(from, row), from.width, to, row);
        });
        found->current = true;
    }
    return found->values;
}

void Executable::embed(std::shared_ptr<Matrix> table, View out, float scale) {
    limits_.vocabulary = std::min(limits_.vocabulary, table->weights().rows);
    const Rows to = rows(out);
    add_rows("embed", out, [=](const Run& run, std::size_t row) {
        table->take(static_cast<std::size_t>(run.step.token_ids[row]), scale, row_of(to, row));
    });
}

void Executable::add_position(const float* table, std::size_t positions, View x) {
    limits_.positions = std::min(limits_.positions, positions);
    const float* kept = keep(table, positions * x.width);
    const Rows to = rows(x);
    const auto add = kernels_.add;
    add_rows("embed", x, [=](const Run& run, std::size_t row) {
        const float* learned = kept + static_cast<std::size_t>(run.step.positions[row]) * to.width;
        add(row_of(to, row), learned, row_of(to, row), to.width, 1.0f);
    });
}

void Executable::rms_norm(View x, const float* weight, std::size_t size, View out, float eps) {
    const float* kept = keep(weight, size);
    const Rows from = rows(x), to = rows(out);
    const auto norm = kernels_.rms_norm;
    add_rows("norm", out, [=](const Run&, std::size_t row) {
        for (std::size_t at = 0; at < from.width; at += size)
            norm(row_of(from, row) + at, kept, row_of(to, row) + at, size, eps);
    });
}

void Executable::layer_norm(View x, const float* weight, const float* bias, View out, float eps) {
    const float *kept_weight = keep(weight, x.width), *kept_bias = keep(bias, x.width);
    const Rows from = rows(x), to = rows(out);
    const auto norm = kernels_.layer_norm;
    add_rows("norm", out, [=](const Run&, std::size_t row) {
        norm(row_of(from, row), kept_weight, kept_bias, row_of(to, row), from.width, eps);
    });
}

// The product alone; the bias is padded to whole tiles in memory of its own.
LinearTask Executable::linear_task(View x, const Matrix& matrix, const float* bias, Memory& padded_bias) {
    const Weights& weights = matrix.weights();
    LinearTask task;
    task.weights = &weights;
    if (is_integer(weights.type))
        task.quantized = quantized(x);
    else
        task.x = rows(x);
    if (bias) {
        padded_bias = Memory(weights.tiles * kTile * sizeof(float));
        std::memcpy(padded_bias.as<float>(), bias, weights.rows * sizeof(float));
        task.bias = padded_bias.as<float>();
    }
    return task;
}

// A product that adapters may change: its x @ a.T comes before it.
const LoraSite* Executable::site(const LinearTask& task, View x) {
    sites_.emplace_back(kernels_, lora_, task, rows(x));
    stages_.push_back(std::make_unique<ShrinkStage>(sites_.back()));
    return &sites_.back();
}

void Executable::linear(View x, std::shared_ptr<Matrix> matrix, View out, const float* bias, const View* residual,
                        float scale, bool adapts) {
    Memory padded;
    LinearTask task = linear_task(x, *matrix, bias, padded);
    if (residual) task.residual = rows(*residual);
    task.out = rows(out);
    task.scale = scale;
    auto stage = std::make_unique<LinearStage>(kernels_, task, outputs_[x.buffer]);
    if (adapts) stage->adapt(*site(task, x));
    stage->own(std::move(matrix), std::move(padded));
    stages_.push_back(std::move(stage));
    open_rows_ = nullptr;
    forget(out);
}

void Executable::gated_linear(View x, std::shared_ptr<Matrix> matrix, const float* bias, View out, Activation activation,
                              bool adapts) {
    Memory padded;
    LinearTask task = linear_task(x, *matrix, bias, padded);
    task.out = rows(out);
    auto stage = std::make_unique<GatedLinearStage>(kernels_, task, activation, outputs_[x.buffer], team_->size());
    if (adapts) stage->adapt(*site(task, x));
    stage->own(std::move(matrix), std::move(padded));
    gated_ = stage.get();
    gated_out_ = out;
    stages_.push_back(std::move(stage));
    open_rows_ = nullptr;
    forget(out);
}

void Executable::gate(View x, View out, Activation activation) {
    const Rows from = rows(x), to = rows(out);
    const auto gate = kernels_.gate;
    add_rows("activation", out, [=](const Run&, std::size_t row) {
        const float* both = row_of(from, row);
        gate(both, both + to.width, row_of(to, row), to.width, activation);
    });
}

void Executable::activate(View x, View out, Activation activation) {
    const Rows from = rows(x), to = rows(out);
    const auto activate = kernels_.activate;
    add_rows("activation", out, [=](const Run&, std::size_t row) {
        activate(row_of(from, row), row_of(to, row), to.width, activation);
    });
}

void Executable::add(View x, View y, View out, float scale) {
    const Rows a = rows(x), b = rows(y), to = rows(out);
    const auto add = kernels_.add;
    add_rows("add", out, [=](const Run&, std::size_t row) {
        add(row_of(a, row), row_of(b, row), row_of(to, row), to.width, scale);
    });
}

// The table of angles with these frequencies; shared by all layers that use the same.
std::size_t Executable::angles(const float* inv_freq, std::size_t half, float factor) {
    const std::vector<float> wanted(inv_freq, inv_freq + half);
    for (std::size_t i = 0; i < angles_.size(); ++i)
        if (angles_[i]->inv_freq == wanted && angles_[i]->factor == factor) return i;
    const std::size_t bytes = limits_.tokens * half * sizeof(float);
    angles_.push_back(std::make_unique<Angles>(Angles{wanted, factor, Memory(bytes), Memory(bytes)}));
    const Angles* made = angles_.back().get();
    if (!opening_) opening_ = std::make_unique<RowStage>("rope", false);
    opening_->add([=](const Run& run, std::size_t row) {
        float *cos = made->cos.as<float>() + row * half, *sin = made->sin.as<float>() + row * half;
        for (std::size_t i = 0; i < half; ++i) {
            const float angle = static_cast<float>(run.step.positions[row]) * made->inv_freq[i];
            cos[i] = static_cast<float>(std::cos(static_cast<double>(angle)) * static_cast<double>(factor));
            sin[i] = static_cast<float>(std::sin(static_cast<double>(angle)) * static_cast<double>(factor));
        }
    });
    return angles_.size() - 1;
}

void Executable::rope(View x, std::size_t head_size, const float* inv_freq, std::size_t half, float factor) {
    const Angles* table = angles_[angles(inv_freq, half, factor)].get();
    const Rows to = rows(x);
    const auto rotate = kernels_.rotate;
    add_rows("rope", x, [=](const Run&, std::size_t row) {
        const float *cos = table->cos.as<float>() + row * half, *sin = table->sin.as<float>() + row * half;
        for (std::size_t at = 0; at < to.width; at += head_size) rotate(row_of(to, row) + at, cos, sin, half);
    });
}

LayerCache Executable::layer_cache(std::size_t layer) const {
    const CacheLayout layout{cache_.block_size, cache_.kv_heads, cache_.head_size, cache_.type};
    return {layout, keys_[layer].as<std::uint8_t>(), values_[layer].as<std::uint8_t>()};
}

void Executable::write_cache(View k, View v, std::size_t layer) {
    const LayerCache cache = layer_cache(layer);
    const Rows keys = rows(k), values = rows(v);
    const auto write = kernels_.write_cache;
    row_stage("write cache", false).add([=](const Run& run, std::size_t row) {
        write(cache, row_of(keys, row), row_of(values, row), run.blocks[row], run.slots[row]);
    });
}

void Executable::attention(View q, View out, std::size_t layer, std::size_t heads, float scale, std::int64_t window,
                           float softcap) {
    const AttentionTask task{layer_cache(layer), rows(q), rows(out), heads, scale, window, softcap};
    stages_.push_back(std::make_unique<AttentionStage>(kernels_, task, team_->size()));
    open_rows_ = nullptr;
    forget(out);
}

void Executable::select_outputs(View x, View out) {
    const Rows from = rows(x), to = rows(out);
    open_rows_ = nullptr;  // it reads other rows than its own
    add_rows("select", out, [=](const Run& run, std::size_t row) {
        const float* chosen = row_of(from, static_cast<std::size_t>(run.step.output_rows[row]));
        std::memcpy(row_of(to, row), chosen, to.width * sizeof(float));
    });
}

void Executable::soft_cap(View x, float cap) {
    const Rows to = rows(x);
    const auto soft_cap = kernels_.soft_cap;
    add_rows("activation", x, [=](const Run&, std::size_t row) { soft_cap(row_of(to, row), to.width, cap); });
}

}  // namespace fairway
