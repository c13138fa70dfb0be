// Attention by the type of the cache; see attention.h for what it computes.
#include "attention_float.h"
#include "attention_int8.h"

namespace fairway::FAIRWAY_ISA {

namespace {

template <typename Products>
struct Type {
    using Walk = Attend<Products>;
};

// Calls body with the products of the cache's type.
template <typename Body>
auto by_type(const AttentionTask& task, Body body) {
    switch (task.cache.layout.type) {
        case CacheType::f32:
            return body(Type<FloatProducts<float>>{});
        case CacheType::int8:
            return body(Type<IntProducts>{});
        default:
            return body(Type<FloatProducts<std::uint16_t>>{});
    }
}

}  // namespace

std::size_t attention_scratch(const AttentionTask& task, std::size_t rows) {
    return by_type(task, [&](auto type) { return decltype(type)::Walk::scratch(task, rows); });
}

std::size_t attention_partial(const AttentionTask& task, std::size_t rows) {
    return Partial::size(rows, task.cache.layout);
}

void attention(const AttentionTask& task, const AttentionItem& item, float* scratch) {
    by_type(task, [&](auto type) { typename decltype(type)::Walk(task, item, scratch).run(); });
}

void attend_segments(const AttentionTask& task, const AttentionItem& item, Range segments, float* partials,
                     float* scratch) {
    by_type(task, [&](auto type) { typename decltype(type)::Walk(task, item, scratch).run_segments(segments, partials); });
}

void merge_segments(const AttentionTask& task, const AttentionItem& item, std::size_t count, float* partials,
                    float* scratch) {
    by_type(task, [&](auto type) { typename decltype(type)::Walk(task, item, scratch).merge_segments(count, partials); });
}

}  // namespace fairway::FAIRWAY_ISA
