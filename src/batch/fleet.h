#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sollol::batch {

/// A model at a node, as a gateway tells of it.
struct FleetModel {
  std::string model;  // what spellings of one model share
  std::uint32_t limit = 1;
  std::uint32_t in_flight = 0;  // anybody's
  bool loaded = false;
  double tokens_per_s = 0;  // 0: not known
};

struct FleetNode {
  std::string name;
  bool usable = false;   // takes requests now
  bool unknown = false;  // has not been asked yet
  std::vector<FleetModel> models;

  const FleetModel* find(std::string_view model) const noexcept;
};

/// The nodes behind a gateway.
struct Fleet {
  std::vector<FleetNode> nodes;

  /// Requests of the model that the fleet works on at once.
  std::size_t slots(std::string_view model) const noexcept;
  /// Usable nodes that have it.
  std::size_t owners(std::string_view model) const noexcept;
  /// Every node has been asked what it has.
  bool known() const noexcept;
};

/// Reads `GET /sollol/v1/nodes`. Error: bad_reply.
Result<Fleet> parse_fleet(std::string_view json);

struct Advice {
  bool parallel = false;
  std::string reason;
};
/// Reads `GET /sollol/v1/locality`. Error: bad_reply.
Result<Advice> parse_advice(std::string_view json);

/// Reads `GET /sollol/v1/decisions`: the node of each request, by its id; of several attempts the
/// last. Error: bad_reply.
Result<std::map<std::string, std::string, std::less<>>> parse_decisions(std::string_view json);

}  // namespace sollol::batch
