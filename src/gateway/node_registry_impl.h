#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "gateway/control.h"
#include "gateway/view.h"
#include "sollol/node_registry.h"

namespace sollol {

/// A registry looks after a control thread's nodes: its own, or a pool's.
struct NodeRegistry::Impl {
  Impl(gateway::Control& c, gateway::ViewSource& v, std::shared_ptr<void> o)
      : control(c), views(v), owner(std::move(o)) {}

  gateway::Control& control;
  gateway::ViewSource& views;
  std::shared_ptr<void> owner;  // of both; null: somebody else, who lives longer

  /// What `check` found of each node, by URL.
  struct Checks {
    unsigned failures = 0;  // in a row
    std::deque<double> round_trips_s;
  };
  std::mutex checks_mutex;
  std::map<std::string, Checks, std::less<>> checks;
};

}  // namespace sollol
