// The Python side: arrays in, arrays out. Shapes of programs were checked in Python (check.py);
// everything in a step is checked again here, since it changes with every call.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>
#include <tuple>

#include "executable.h"
#include "machine_limits.h"
#include "packer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace fairway {

namespace {

template <typename T, int Dimensions>
using Array = nb::ndarray<const T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
using Vector = Array<float, 1>;
using Columns = std::vector<std::size_t>;  // buffer, start, width

// Work without the interpreter lock. Once the interpreter ends, a daemon thread that asks for the lock
// again would be unwound through C++ and end the process with an error: such threads rest here.
class Outside {
  public:
    Outside() {
        ++inside_;
        state_ = PyEval_SaveThread();
        rest_if_closing();
    }
    ~Outside() {
        rest_if_closing();
        PyEval_RestoreThread(state_);
        --inside_;
    }
    Outside(const Outside&) = delete;
    Outside& operator=(const Outside&) = delete;

    // Called when the interpreter begins to end: returns when nobody outside will come back.
    static void close() {
        closing_ = true;
        const nb::gil_scoped_release release;
        while (inside_ > 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
    }

  private:
    static void rest_if_closing() {
        if (!closing_) return;
        --inside_;
        for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
    static inline std::atomic<int> inside_{0};
    static inline std::atomic<bool> closing_{false};
    PyThreadState* state_;
};

const Kernels& kernels_named(const std::string& isa) {
    const Kernels* kernels = find_kernels(isa.c_str());
    if (!kernels) throw std::invalid_argument("this machine or this build has no variant " + isa);
    return *kernels;
}

View view(const Columns& columns) {
    if (columns.size() != 3) throw std::invalid_argument("a view is buffer, start and width");
    return {columns[0], columns[1], columns[2]};
}

WeightType float_type(int type) {
    if (type < 0 || type > static_cast<int>(WeightType::bf16)) throw std::invalid_argument("not a type of floats");
    return static_cast<WeightType>(type);
}

// Type, rows, columns, group, has offsets, centred, factor.
using FormFields = std::tuple<int, std::size_t, std::size_t, std::size_t, bool, bool, float>;

Form form_of(const FormFields& fields) {
    const auto [type, rows, columns, group, has_offsets, centred, factor] = fields;
    if (type < 0 || type > static_cast<int>(WeightType::int6)) throw std::invalid_argument("not a type of weights");
    if (group != 16 && group != 32) throw std::invalid_argument("a group has 16 or 32 columns");
    constexpr std::size_t most = std::size_t{1} << 31;
    if (!rows || !columns || rows > most || columns > most) throw std::invalid_argument("not a matrix's rows and columns");
    return {static_cast<WeightType>(type), rows, columns, group, has_offsets, centred, factor};
}

FormFields fields_of(const Matrix& matrix) {
    const Weights& w = matrix.weights();
    return {static_cast<int>(w.type), w.rows, w.columns, w.group, w.has_offsets, w.centred, w.factor};
}

using FloatRows = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

void add_floats(Packer& packer, const FloatRows& values, int type) {
    const WeightType element = float_type(type);
    if (values.ndim() != 2 || values.itemsize() != element_bytes(element) || values.shape(1) != packer.form().columns)
        throw std::invalid_argument("rows do not fit the matrix");
    const Outside outside;
    packer.add(element, values.data(), values.shape(0));
}

void add_grouped(Packer& packer, const Array<std::uint8_t, 2>& values, const Array<float, 2>& scales,
                 const std::optional<Array<float, 2>>& offsets) {
    const Form& form = packer.form();
    const std::size_t rows = values.shape(0), groups = (form.columns + form.group - 1) / form.group;
    const auto fits = [&](const Array<float, 2>& a) { return a.shape(0) == rows && a.shape(1) == groups; };
    if (!is_integer(form.type) || values.shape(1) != form.columns || offsets.has_value() != form.has_offsets)
        throw std::invalid_argument("rows do not fit the matrix");
    if (!fits(scales) || (offsets && !fits(*offsets))) throw std::invalid_argument("scales do not fit the values");
    const Outside outside;
    packer.add(GroupedRows{rows, values.data(), scales.data(), offsets ? offsets->data() : nullptr});
}

void bind_matrices(nb::module_& m) {
    nb::class_<Matrix>(m, "Matrix")
        .def_prop_ro("rows", [](const Matrix& matrix) { return matrix.weights().rows; })
        .def_prop_ro("columns", [](const Matrix& matrix) { return matrix.weights().columns; })
        .def_prop_ro("is_integer", [](const Matrix& matrix) { return is_integer(matrix.weights().type); })
        .def_prop_ro("num_bytes", &Matrix::num_bytes)
        .def_prop_ro("form", &fields_of)
        .def_prop_ro("packed", [](nb::handle self) {
            const Matrix& matrix = nb::cast<const Matrix&>(self);
            return nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>>(matrix.weights().data, {matrix.num_bytes()}, self);
        });
    nb::class_<Packer>(m, "Packer")
        .def("__init__", [](Packer* self, std::shared_ptr<Team> team, const std::string& isa, const FormFields& form) {
            new (self) Packer(form_of(form), std::move(team), kernels_named(isa));
        })
        .def("add_floats", &add_floats)
        .def("add_grouped", &add_grouped, "values"_a, "scales"_a, "offsets"_a.none())
        .def("finish", [](Packer& packer) {
            const Outside outside;
            return packer.finish();
        });
    nb::class_<Memory>(m, "MappedFile")
        .def("__init__", [](Memory* self, int descriptor, std::size_t bytes) {
            const Outside outside;
            new (self) Memory(Memory::map_file(descriptor, bytes));
        })
        .def("matrix", [](const Memory& file, const FormFields& fields, std::size_t offset) {
            const Weights weights = lay_out(form_of(fields));
            if (offset % 64) throw std::invalid_argument("a packed matrix begins on a cache line");
            return std::make_shared<Matrix>(weights, file.part(offset, packed_bytes(weights)));
        });
    m.def("packed_bytes", [](const FormFields& fields) { return packed_bytes(lay_out(form_of(fields))); });
}

// One thread runs an executable at a time; a second is told so.
class Turn {
  public:
    explicit Turn(std::atomic<bool>& taken) : taken_(taken) {
        if (taken_.exchange(true)) throw std::runtime_error("this executable is running in another thread");
    }
    ~Turn() { taken_.store(false); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

  private:
    std::atomic<bool>& taken_;
};

// An executable with the buffer that its logits are in.
class Bound : public Executable {
  public:
    using Executable::Executable;
    void finish(const Columns& logits) { logits_ = view(logits); }
    View logits() const { return logits_; }
    std::atomic<bool>& taken() { return taken_; }

  private:
    View logits_{};
    std::atomic<bool> taken_{false};
};

using Ids = Array<std::int32_t, 1>;

Step step_of(const Ids& token_ids, const Ids& positions, const Ids& starts, const Array<std::int32_t, 2>& tables,
             const Ids& output_rows, const std::optional<Ids>& adapters) {
    if (starts.shape(0) < 2 || tables.shape(0) != starts.shape(0) - 1 || positions.shape(0) != token_ids.shape(0))
        throw std::invalid_argument("positions, starts or block_tables do not have the step's size");
    if (adapters && adapters->shape(0) != starts.shape(0) - 1)
        throw std::invalid_argument("adapters do not have the step's size");
    return {token_ids.data(), positions.data(), starts.data(), tables.data(), output_rows.data(),
            adapters ? adapters->data() : nullptr, token_ids.shape(0), starts.shape(0) - 1, tables.shape(1), output_rows.shape(0)};
}

using Logits = nb::ndarray<nb::numpy, float, nb::ndim<2>, nb::c_contig>;

// Site, A, and for each part B, whether it is pairs, its rank, its first column of x @ A.T, its first tile and its scale.
using LoraFields = std::tuple<std::size_t, std::shared_ptr<Matrix>,
                              std::vector<std::tuple<std::shared_ptr<Matrix>, bool, std::size_t, std::size_t, std::size_t, float>>>;

void put_adapter(Bound& bound, std::size_t slot, const std::optional<std::vector<LoraFields>>& layers) {
    const Turn turn(bound.taken());
    if (!layers) return bound.drop_adapter(slot);
    std::vector<std::pair<std::size_t, LoraLayer>> made;
    for (const auto& [site, a, parts] : *layers) {
        LoraLayer layer{a, {}};
        for (const auto& [b, has_pairs, rank, column, first_tile, scale] : parts)
            layer.parts.push_back({b, has_pairs, rank, column, first_tile, scale});
        made.emplace_back(site, std::move(layer));
    }
    bound.put_adapter(slot, std::move(made));
}

void put_cached(Bound& bound, const Ids& places, const Array<float, 3>& keys, const Array<float, 3>& values) {
    const std::size_t count = places.shape(0);
    for (const auto* each : {&keys, &values})
        if (each->shape(0) != bound.cache().layers || each->shape(1) != count ||
            each->shape(2) != bound.cache().kv_heads * bound.cache().head_size)
            throw std::invalid_argument("keys or values do not have the cache's size");
    const Turn turn(bound.taken());
    bound.put_cached(places.data(), count, keys.data(), values.data());
}

void bind_run(nb::class_<Bound>& type) {
    type.def("run", [](nb::handle self, const Ids& token_ids, const Ids& positions, const Ids& starts,
                       const Array<std::int32_t, 2>& block_tables, const Ids& output_rows,
                       const std::optional<Ids>& adapters) {
        Bound& bound = nb::cast<Bound&>(self);
        const Turn turn(bound.taken());
        {
            const Outside outside;
            bound.run(step_of(token_ids, positions, starts, block_tables, output_rows, adapters));
        }
        const Rows rows = bound.rows(bound.logits());
        return Logits(rows.data, {output_rows.shape(0), rows.width}, self);
    }, "token_ids"_a, "positions"_a, "starts"_a, "block_tables"_a, "output_rows"_a, "adapters"_a.none());
    type.def("greedy", [](Bound& bound, const Ids& token_ids, const Ids& positions, const Ids& starts,
                          const Array<std::int32_t, 2>& block_tables, const Ids& output_rows,
                          const std::optional<Ids>& adapters) {
        const Turn turn(bound.taken());
        const Outside outside;
        bound.run(step_of(token_ids, positions, starts, block_tables, output_rows, adapters));
        return bound.argmax(bound.logits(), output_rows.shape(0));
    }, "token_ids"_a, "positions"_a, "starts"_a, "block_tables"_a, "output_rows"_a, "adapters"_a.none());
    type.def("put_adapter", &put_adapter, "slot"_a, "layers"_a.none());
    type.def("put_cached", &put_cached, "places"_a, "keys"_a, "values"_a);
    type.def("choose", [](Bound& bound, const Ids& rows, const Array<double, 2>& draws, std::size_t width) {
        const std::size_t count = rows.shape(0);
        if (draws.shape(0) != count || draws.shape(1) != 5) throw std::invalid_argument("draws are [rows, 5]");
        const Turn turn(bound.taken());
        std::vector<std::int32_t> ids(count);
        {
            const Outside outside;
            std::vector<Draw> each;
            for (const double* d = draws.data(); each.size() < count; d += 5)
                each.push_back({d[0], d[2], d[3], d[4], static_cast<std::size_t>(std::max(0.0, std::min(d[1], 1e9)))});
            bound.choose(bound.logits(), rows.data(), each, width, ids.data());
        }
        return ids;
    });
    type.def("score", [](Bound& bound, const Ids& rows, const Ids& counts, std::size_t width) {
        if (counts.shape(0) != rows.shape(0)) throw std::invalid_argument("there is a count for each row");
        const Turn turn(bound.taken());
        std::vector<std::size_t> each;
        for (std::size_t i = 0; i < counts.shape(0); ++i) each.push_back(static_cast<std::size_t>(std::max(0, counts.data()[i])));
        const std::vector<Score> scores = [&] {
            const Outside outside;
            return bound.score(bound.logits(), rows.data(), each, width);
        }();
        nb::list out;
        for (const Score& score : scores) out.append(nb::make_tuple(score.log_sum_exp, score.top));
        return out;
    });
    type.def("profile", [](Bound& bound, bool on) {
        bound.set_profile(on);
        return bound.take_profile();
    });
    type.def_prop_ro("num_bytes", [](const Bound& bound) { return bound.num_bytes(); });
}

void bind_operations(nb::class_<Bound>& type) {
    type.def("embed", [](Bound& e, std::shared_ptr<Matrix> table, const Columns& out, float scale) {
        e.embed(std::move(table), view(out), scale);
    });
    type.def("add_position", [](Bound& e, const Array<float, 2>& table, const Columns& x) {
        e.add_position(table.data(), table.shape(0), view(x));
    });
    type.def("rms_norm", [](Bound& e, const Columns& x, const Vector& weight, const Columns& out, float eps) {
        e.rms_norm(view(x), weight.data(), weight.shape(0), view(out), eps);
    });
    type.def("layer_norm", [](Bound& e, const Columns& x, const Vector& weight, const Vector& bias, const Columns& out,
                              float eps) { e.layer_norm(view(x), weight.data(), bias.data(), view(out), eps); });
    type.def("linear", [](Bound& e, const Columns& x, std::shared_ptr<Matrix> matrix, const Columns& out,
                          const std::optional<Vector>& bias, const std::optional<Columns>& residual, float scale,
                          bool adapts) {
        const View added = residual ? view(*residual) : View{};
        e.linear(view(x), std::move(matrix), view(out), bias ? bias->data() : nullptr, residual ? &added : nullptr, scale,
                 adapts);
    }, "x"_a, "matrix"_a, "out"_a, "bias"_a.none(), "residual"_a.none(), "scale"_a, "adapts"_a);
    type.def("gated_linear", [](Bound& e, const Columns& x, std::shared_ptr<Matrix> matrix, const std::optional<Vector>& bias,
                                const Columns& out, int activation, bool adapts) {
        e.gated_linear(view(x), std::move(matrix), bias ? bias->data() : nullptr, view(out), static_cast<Activation>(activation), adapts);
    }, "x"_a, "matrix"_a, "bias"_a.none(), "out"_a, "activation"_a, "adapts"_a);
    type.def("gate", [](Bound& e, const Columns& x, const Columns& out, int activation) {
        e.gate(view(x), view(out), static_cast<Activation>(activation));
    });
    type.def("activate", [](Bound& e, const Columns& x, const Columns& out, int activation) {
        e.activate(view(x), view(out), static_cast<Activation>(activation));
    });
    type.def("add", [](Bound& e, const Columns& x, const Columns& y, const Columns& out, float scale) {
        e.add(view(x), view(y), view(out), scale);
    });
    type.def("rope", [](Bound& e, const Columns& x, std::size_t head_size, const Vector& inv_freq, float factor) {
        e.rope(view(x), head_size, inv_freq.data(), inv_freq.shape(0), factor);
    });
    type.def("write_cache", [](Bound& e, const Columns& k, const Columns& v, std::size_t layer) {
        e.write_cache(view(k), view(v), layer);
    });
    type.def("attention", [](Bound& e, const Columns& q, const Columns& out, std::size_t layer, std::size_t heads,
                             float scale, std::int64_t window, float softcap) {
        e.attention(view(q), view(out), layer, heads, scale, window, softcap);
    });
    type.def("select_outputs", [](Bound& e, const Columns& x, const Columns& out) { e.select_outputs(view(x), view(out)); });
    type.def("soft_cap", [](Bound& e, const Columns& x, float cap) { e.soft_cap(view(x), cap); });
    type.def("finish", [](Bound& e, const Columns& logits) { e.finish(logits); });
}

using Bytes = nb::ndarray<std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Scales = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void quantize(const std::string& isa, const Array<float, 2>& weight, const Bytes& codes, const Scales& scales,
              std::size_t group, int bits) {
    const Kernels& kernels = kernels_named(isa);
    const std::size_t rows = weight.shape(0), columns = weight.shape(1), groups = (columns + group - 1) / group;
    if (codes.shape(0) != rows || codes.shape(1) != columns || scales.shape(0) != rows || scales.shape(1) != groups ||
        (group != 32 && (bits != 8 || group != 16)) || bits < 4 || bits == 7 || bits > 8)
        throw std::invalid_argument("codes or scales do not fit the weight");
    const Outside outside;
    for (std::size_t r = 0; r < rows; ++r) {
        const float* w = weight.data() + r * columns;
        if (bits == 8)
            kernels.quantize_int8(w, columns, group, codes.data() + r * columns, scales.data() + r * groups);
        else
            kernels.quantize_low(w, columns, bits, codes.data() + r * columns, scales.data() + r * groups);
    }
}

// Rows of whole blocks; see gguf_quantize.py. Any number of threads may call it at once.
bool quantize_blocks(const std::string& isa, int type, int source, const FloatRows& values,
                     const std::optional<Vector>& importance, const Bytes& out) {
    const Kernels& kernels = kernels_named(isa);
    const WeightType element = float_type(source);
    if (type < 0 || type >= static_cast<int>(kBlockTypes) || values.ndim() != 2 || values.itemsize() != element_bytes(element))
        throw std::invalid_argument("not rows of floats, or not a type of blocks");
    const BlockType blocks = static_cast<BlockType>(type);
    const BlockShape shape = shape_of(blocks);
    const std::size_t rows = values.shape(0), columns = values.shape(1);
    if (columns % shape.size || (importance && importance->shape(0) != columns) || out.shape(0) != rows ||
        out.shape(1) != columns / shape.size * shape.bytes)
        throw std::invalid_argument("importance or blocks do not fit the rows");
    const BlockTask task{blocks, element, values.data(), rows * columns, importance ? importance->data() : nullptr, columns,
                         out.data()};
    const Outside outside;
    return kernels.quantize_blocks(task);
}

using Top = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using TopIds = nb::ndarray<std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void top(const std::string& isa, const Array<float, 2>& logits, const Top& values, const TopIds& ids) {
    const Kernels& kernels = kernels_named(isa);
    const std::size_t rows = logits.shape(0), width = logits.shape(1), count = values.shape(1);
    if (values.shape(0) != rows || ids.shape(0) != rows || ids.shape(1) != count || count < 1 || count > width)
        throw std::invalid_argument("values or ids do not fit the logits");
    const Outside outside;
    for (std::size_t r = 0; r < rows; ++r)
        kernels.top(logits.data() + r * width, width, count, values.data() + r * count, ids.data() + r * count);
}

double reading(Team& team, const std::string& isa, std::size_t bytes, int passes) {
    const Kernels& kernels = kernels_named(isa);
    const Outside outside;
    return reading_rate(team, kernels, bytes, passes);
}

double products(Team& team, const std::string& isa, const std::string& type, int passes) {
    const Kernels& kernels = kernels_named(isa);
    const Outside outside;
    if (type == "int8") return product_rate(team, kernels.multiply_int8, passes);
    if (type == "bf16") return product_rate(team, kernels.multiply_bf16, passes);
    if (type == "f32") return product_rate(team, kernels.multiply_f32, passes);
    throw std::invalid_argument("there are products of int8, bf16 and f32, not of " + type);
}

nb::object exp(const std::string& isa, const Vector& x) {
    const Kernels& kernels = kernels_named(isa);
    auto* out = new float[x.shape(0)];
    const nb::capsule owner(out, [](void* p) noexcept { delete[] static_cast<float*>(p); });
    kernels.exp(x.data(), out, x.shape(0));
    return nb::cast(nb::ndarray<nb::numpy, float, nb::ndim<1>>(out, {x.shape(0)}, owner));
}

}  // namespace

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // an engine in a daemon thread may outlive the interpreter
    m.def("set_leak_warnings", [](bool on) { nb::set_leak_warnings(on); });
    m.def("close", &Outside::close);
    m.def("has_variant", [](const std::string& isa) { return find_kernels(isa.c_str()) != nullptr; });
    m.def("exp", &exp);
    m.def("quantize", &quantize);
    m.def("quantize_blocks", &quantize_blocks, "isa"_a, "type"_a, "source"_a, "values"_a, "importance"_a.none(), "out"_a);
    m.def("top", &top);
    m.def("reading_rate", &reading);
    m.def("product_rate", &products);
    nb::class_<Team>(m, "Team").def(nb::init<int>()).def_prop_ro("size", &Team::size);
    bind_matrices(m);
    nb::class_<Bound> executable(m, "Executable");
    executable.def("__init__", [](Bound* self, std::shared_ptr<Team> team, const std::string& isa, const Columns& cache,
                                  int cache_type, const Columns& limits, const std::vector<std::size_t>& widths,
                                  const std::vector<bool>& outputs) {
        if (cache.size() != 5 || limits.size() != 3 || widths.size() != outputs.size() || cache_type < 0 ||
            cache_type > static_cast<int>(CacheType::int8))
            throw std::invalid_argument("cache, limits or buffers have the wrong size");
        new (self) Bound(std::move(team), kernels_named(isa), {cache[0], cache[1], cache[2], cache[3], cache[4], static_cast<CacheType>(cache_type)},
                         {limits[0], limits[1], limits[2]}, widths, outputs);
    });
    bind_operations(executable);
    bind_run(executable);
}

}  // namespace fairway
