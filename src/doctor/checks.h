#pragma once

#include "doctor/facts.h"
#include "doctor/finding.h"

namespace sollol::doctor {

/// From here on things count as troubles.
struct Rules {
  Duration slow_scan = std::chrono::milliseconds(1000);  // a look at the network takes longer
  Duration usual_timeout = std::chrono::milliseconds(500);
  std::uint64_t dead_range_min = 64;             // addresses of a range in which nobody lives
  Duration far = std::chrono::milliseconds(50);  // a round trip
  double way_share_max = 0.25;                   // of a request's time that is spent on the way
  double spread_max = 4;                         // between the rates of two nodes for one model
  Duration clock_apart = std::chrono::seconds(5);
  std::uint64_t descriptors_min = 1024;
};

/// One check each. Pure: facts in, at least one finding out, the level `ok` or `note` when nothing
/// is wrong. Any thread.
Findings check_gateway(const Facts& facts);
/// Whether there are usable nodes; without any, what of all that can be seen is the reason.
Findings check_nodes(const Facts& facts, const Rules& rules = {});
/// Entries of files and variables that lead nowhere.
Findings check_entries(const Facts& facts);
/// One server that is counted twice: localhost beside the machine's real address.
Findings check_duplicates(const Facts& facts);
/// Work that is not done in parallel although it could be.
Findings check_parallel(const Facts& facts);
/// Work that is done in parallel and gains nothing by it.
Findings check_speed(const Facts& facts, const Rules& rules = {});
Findings check_discovery(const Facts& facts, const Rules& rules = {});
Findings check_versions(const Facts& facts);
Findings check_contexts(const Facts& facts);
/// Loads that undo each other, as the gateway counted them.
Findings check_thrashing(const Facts& facts);
Findings check_models(const Facts& facts);
Findings check_clock(const Facts& facts, const Rules& rules = {});
Findings check_files(const Facts& facts, const Rules& rules = {});
Findings check_port(const Facts& facts);

/// All of them, in this order.
Findings examine(const Facts& facts, const Rules& rules = {});

/// Why no node is found, the likeliest reason first; at least one. For check_nodes().
Findings why_none(const Facts& facts);

/// Whether two servers on one port are the same one: they have an address in common, or both are at
/// this machine, where one listener has that port on all addresses.
bool same_server(const std::vector<Address>& a, const std::vector<Address>& b, const OwnFact& own);

bool is_loopback(const std::string& ip);

}  // namespace sollol::doctor
