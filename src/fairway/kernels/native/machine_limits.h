// What this machine can do at most, all threads of a team at once. The best of several passes: a
// neighbour can make a pass slower, nothing can make it faster.
#pragma once

#include "kernels.h"
#include "team.h"

namespace fairway {

// Bytes per second from memory, over a buffer of `bytes` that no cache holds. Throws std::bad_alloc.
double reading_rate(Team& team, const Kernels& kernels, std::size_t bytes, int passes);

// Operations per second of one of the table's multiply functions; 0 where it has no instruction.
double product_rate(Team& team, std::size_t (*multiply)(std::size_t steps), int passes);

}  // namespace fairway
