#pragma once

#include <vector>

#include "locality/grouping.h"
#include "locality/signs.h"

namespace sollol::locality {

/// Splits one machine's nodes into devices, and finds those that are known to be independent.
/// Evidence, strongest first: the operator's `device`, agents' GPU UUIDs, measurement; for what
/// works independently a sure measurement comes first, since it is that very question.
///
///   hosts      with id and nodes; gets devices and independent
///   log        gets the evidence
void find_devices(std::vector<Host>& hosts, Nodes nodes, const Measured& measured,
                  const Rules& rules, std::vector<Evidence>& log);

}  // namespace sollol::locality
