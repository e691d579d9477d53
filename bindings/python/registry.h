#pragma once

#include <memory>

#include "core.h"
#include "sollol/node_registry.h"

namespace sollol::python {

/// A registry and whoever it belongs to.
struct Registry {
  std::shared_ptr<NodeRegistry> nodes;
};

}  // namespace sollol::python
