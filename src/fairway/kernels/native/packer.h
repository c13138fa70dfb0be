// A matrix in the making: rows arrive in order, in slices of any height, and are packed at once, so
// that nothing is held beside the matrix but one float per scale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "matrix.h"
#include "team.h"

namespace fairway {

// Rows of codes as in fairway.tensors.GroupedTensor, with zero 0 for int8, and otherwise 0 or
// the middle code (`centred`).
struct GroupedRows {
    std::size_t rows;
    const std::uint8_t* values;
    const float* scales;
    const float* offsets;  // null where the form has none
};

class Packer {
  public:
    // The factor of the form is found here.
    Packer(const Form& form, std::shared_ptr<Team> team, const Kernels& kernels);

    const Form& form() const { return form_; }
    // Floats of any type, rounded or quantised to the form's; throws std::invalid_argument for too many rows.
    void add(WeightType type, const void* values, std::size_t rows);
    void add(const GroupedRows& source);
    std::shared_ptr<Matrix> finish();

  private:
    struct Scratch;
    template <typename Body>
    void for_rows(std::size_t rows, Body body);
    void pack_floats(const float* values, std::size_t row);
    void pack_codes(const std::uint8_t* codes, std::size_t row);
    void pack_scales(std::size_t row);
    void pack_half(std::size_t row, std::size_t g, std::size_t at, std::uint16_t half);
    void pack_high_bits(const std::uint32_t* quads, std::uint8_t* at) const;
    void clear_codes(std::size_t row, std::size_t g);
    void find_factor();
    std::uint8_t* tile_of(std::size_t row) const;

    Form form_;
    Weights weights_;
    Memory memory_;
    std::shared_ptr<Team> team_;
    const Kernels& kernels_;
    std::size_t added_ = 0;
    std::size_t scales_of_row_ = 0;
    std::vector<float> scales_, offsets_;  // of rows already added, until the factor is known
};

}  // namespace fairway
