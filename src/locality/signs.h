#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "locality/facts.h"
#include "locality/joiner.h"

namespace sollol::locality {

/// The nodes that a grouping works on, in an order of their own so that the caller's order does not
/// matter.
using Nodes = std::span<const NodeFacts>;

/// The findings that count, one for each pair of nodes (the lower index first).
using Measured = std::map<std::pair<std::size_t, std::size_t>, Contention>;
Measured measured_pairs(Nodes nodes, std::span<const Contention> contention);

/// The signs of one kind that facts alone give, about hosts: what at least two nodes show. Values
/// that many machines have are left out (all-zero MACs, those of routers, stores of whole seconds).
/// Kinds: operator_host, machine_id, boot_id, gpu_uuid, address, this_machine, mac,
/// container_network, model_store, hostname.
std::vector<Sign> signs_of(EvidenceKind kind, Nodes nodes);

/// What tells nodes apart: operator_host, operator_device, machine_id, boot_id and gpu_uuid.
Labels labels_of(EvidenceKind kind, Scope scope, Nodes nodes);

/// Signs by value: `values(node)` are what the node shows, `text(value)` how people are told.
std::vector<Sign> collect(EvidenceKind kind, Scope scope, Nodes nodes,
                          const std::function<std::vector<std::string>(std::size_t)>& values,
                          const std::function<std::string(const std::string&)>& text);

/// GPU UUIDs of the node that can be used; empty: none told.
std::vector<std::string> gpus_of(const NodeFacts& node);

}  // namespace sollol::locality
