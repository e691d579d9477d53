#pragma once

#include <boost/json/object.hpp>
#include <string_view>

namespace sollol::cli {

/// Prints what a gateway's decisions cost against the best node in hindsight: the simulator plays
/// them again (world/hindsight.h). `decisions` and `nodes` are the answers of
/// `/sollol/v1/decisions` and `/sollol/v1/nodes`; `model`: of this alone, empty: of all. Returns
/// the exit code.
int print_regrets(const boost::json::object& decisions, const boost::json::object& nodes,
                  std::string_view model);

}  // namespace sollol::cli
