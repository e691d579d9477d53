#include "gateway/local.h"

#include <algorithm>

#include "api/json_text.h"
#include "gateway/inference.h"
#include "gateway/keys.h"
#include "gateway/worker.h"

namespace sollol::gateway {

using api::Operation;

namespace {

/// Numeric order of dotted versions: 0.9.1 < 0.12.0.
bool older(std::string_view a, std::string_view b) {
  const auto next = [](std::string_view& text) {
    unsigned number = 0;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      number = number * 10 + static_cast<unsigned>(text.front() - '0');
      text.remove_prefix(1);
    }
    if (!text.empty()) text.remove_prefix(1);
    return number;
  };
  while (!a.empty() || !b.empty()) {
    const unsigned left = next(a);
    const unsigned right = next(b);
    if (left != right) return left < right;
  }
  return false;
}

/// The oldest version in the fleet: what every node can do.
std::string fleet_version(const FleetView& view) {
  std::string version;
  for (const auto& listing : view.listings) {
    if (listing->version.empty()) continue;
    if (version.empty() || older(listing->version, version)) version = listing->version;
  }
  return version.empty() ? "0.0.0" : version;
}

/// Lists of nodes, and the memory of those that had to be cut down.
template <class Item>
struct Lists {
  std::vector<std::vector<Item>> cut;
  std::vector<std::span<const Item>> all;
};

/// What the nodes whose word counts (those that are not down) list, as far as the key may see it.
template <class Item>
Lists<Item> lists_of(const FleetView& view, std::vector<Item> NodeListing::* list, const Key* key) {
  Lists<Item> lists;
  const bool limited = key != nullptr && !key->record.models.empty();
  if (limited) lists.cut.reserve(view.listings.size());
  for (std::size_t i = 0; i < view.listings.size(); ++i) {
    const cluster::Availability availability = view.cluster->nodes[i].live->availability;
    if (availability == cluster::Availability::down) continue;
    const std::vector<Item>& listed = (*view.listings[i]).*list;
    if (limited) {
      std::vector<Item>& kept = lists.cut.emplace_back();
      std::ranges::copy_if(listed, std::back_inserter(kept),
                           [key](const Item& item) { return may_use(key->record, item.key); });
      lists.all.push_back(kept);
    } else {
      lists.all.push_back(listed);
    }
  }
  return lists;
}

}  // namespace

net::Task<void> serve_local(Connection& client) {
  switch (client.request().route.operation) {
    case Operation::root:
      return client.answer(200, "text/plain; charset=utf-8", "Ollama is running");
    case Operation::version:
      return client.answer(
          200, api::json_content_type,
          "{\"version\":" + api::json_string(fleet_version(*client.worker().view())) + "}");
    case Operation::recommendations:
      return client.answer(200, api::json_content_type, "{\"recommendations\":[]}");
    default:
      return client.answer(api::plain_404());
  }
}

net::Task<void> serve_aggregate(Connection& client) {
  const FleetView& view = *client.worker().view();
  const Key* const key = client.request().key.get();
  switch (client.request().route.operation) {
    case Operation::tags:
      return client.answer(200, api::json_content_type,
                           api::merge_tags(lists_of(view, &NodeListing::models, key).all));
    case Operation::ps:
      return client.answer(200, api::json_content_type,
                           api::merge_ps(lists_of(view, &NodeListing::loaded, key).all));
    case Operation::models:
      return client.answer(200, api::json_content_type,
                           api::merge_openai_models(lists_of(view, &NodeListing::models, key).all));
    default:
      return serve_lookup(client);
  }
}

}  // namespace sollol::gateway
