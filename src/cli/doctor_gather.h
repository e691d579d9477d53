#pragma once

#include <string>
#include <vector>

#include "base/environment.h"
#include "cli/config.h"
#include "discovery/scan_plan.h"
#include "doctor/facts.h"

namespace sollol::cli {

/// What the doctor is to look at.
struct DoctorPlan {
  Settings settings;           // as `sollol up` would have them
  std::string gateway;         // --gateway; empty: the usual places
  bool asks_gateway = true;    // --no-gateway
  bool scans = true;           // --no-scan
  bool uses_node_file = true;  // --no-node-file
  discovery::ScanOptions scan;
};

/// Gathers what the checks need: the gateway's word, a look at the network, what files and
/// variables name, this machine. Blocks for some seconds at most. Error: bad_input for the scan's
/// options.
Result<doctor::Facts> gather_facts(const DoctorPlan& plan, const Environment& environment);

/// The gateway's nodes and which of them share a machine, by its routes. False when none answers;
/// facts.gateway then says why.
bool ask_gateway(const std::string& url, Duration timeout, doctor::Facts& facts);

/// Of machine and port: listeners, who has the gateway's port, descriptors.
void look_at_this_machine(const Settings& settings, doctor::Facts& facts);

}  // namespace sollol::cli
