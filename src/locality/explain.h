#pragma once

#include <string>

#include "locality/advice.h"
#include "locality/grouping.h"

namespace sollol::locality {

/// The grouping for people: each machine with its nodes by device, the evidence with what became of
/// each piece, and the advice. Lines end with a newline; no colours.
std::string explain(const Grouping& grouping, const Advice& advice);

/// One piece in one line: "desktop, laptop: both are at 10.0.0.5 (address, joins)".
std::string explain(const Grouping& grouping, const Evidence& evidence);

}  // namespace sollol::locality
