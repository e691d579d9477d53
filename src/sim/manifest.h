#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "sim/spec.h"

namespace sollol::sim {

/// One entry of a node's store: a name, and the model that it stands for with every default filled
/// in.
struct Manifest {
  std::string name;  // as shown: "llama3.2:latest"
  ModelSpec spec;    // digest and blob are set
  WallTime modified_at;
  std::string from;  // the name it was created from

  bool can(std::string_view capability) const;
};
using ManifestPtr = std::shared_ptr<const Manifest>;

/// Fills in what a spec leaves open: digests, family, capabilities.
ModelSpec complete(ModelSpec spec);

/// The models and blobs on one node's disk.
class Store {
 public:
  /// Any spelling of the name; null when there is none, or when the name is not valid.
  ManifestPtr find(std::string_view name) const;
  void put(ModelSpec spec, WallTime modified_at, std::string from = {});
  bool erase(std::string_view name);

  /// Most recently modified first.
  std::vector<ManifestPtr> list() const;

  /// "sha256:<64 hex>".
  bool has_blob(std::string_view digest) const;
  void add_blob(std::string digest) { blobs_.insert(std::move(digest)); }

 private:
  std::map<std::string, ManifestPtr, std::less<>> models_;  // by ModelName::key
  std::set<std::string, std::less<>> blobs_;
};

/// The `details` object of `/api/tags`, `/api/ps` and `/api/show`.
boost::json::object model_details(const Manifest& model);
/// GGUF's keys and values, as `/api/show` gives them; arrays only when `verbose`.
enum class Verbosity : std::uint8_t { brief, verbose };
boost::json::object model_info(const Manifest& model, Verbosity verbosity);
/// Names, types and shapes of the weights.
boost::json::array model_tensors(const Manifest& model);
/// The Modelfile, with its FROM line.
std::string modelfile(const Manifest& model);
/// The stored parameters as `/api/show` prints them.
std::string parameters_text(const Manifest& model);

}  // namespace sollol::sim
