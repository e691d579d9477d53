// Which models are in the memory of which nodes.
#include "gateway/admin_models.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/json.hpp>
#include <map>

#include "api/errors.h"
#include "api/model_name.h"
#include "cluster/takes_work.h"
#include "gateway/admin_answer.h"
#include "gateway/control.h"
#include "gateway/inference.h"
#include "gateway/residency.h"
#include "gateway/worker.h"

namespace sollol::gateway {

namespace asio = net::asio;
namespace json = boost::json;
using routing::ModelStanding;
using routing::ResidencyStep;

namespace {

constexpr std::int64_t replicas_max = 10'000;

json::object replica_json(const cluster::Snapshot& snapshot, const cluster::Replica& replica) {
  const cluster::Node& node = snapshot.nodes[replica.node];
  const bool loading = replica.live->loading_since_ns != 0;
  return {{"node", node.info.name},
          {"state", loading                ? "loading"
                    : replica.live->loaded ? "loaded"
                                           : "on disk"},
          {"in_flight", replica.live->in_flight.load()},
          {"available", cluster::takes_work(*node.live)}};
}

json::object model_json(const cluster::Snapshot& snapshot, const cluster::Model* model,
                        const ModelStanding& standing) {
  json::array nodes;
  std::uint64_t size = 0;
  if (model != nullptr) {
    for (const cluster::Replica& replica : model->replicas) {
      size = std::max(size, replica.size_bytes);
      nodes.push_back(replica_json(snapshot, replica));
    }
  }
  json::object out{{"name", standing.model},      {"size", size},
                   {"nodes", std::move(nodes)},   {"requests_per_hour", standing.per_hour},
                   {"at_once", standing.busy},    {"wish", standing.wish},
                   {"need", standing.need},       {"resident", standing.resident},
                   {"loading", standing.loading}, {"asked", standing.asked}};
  if (!standing.problem.empty()) out["problem"] = standing.problem;
  return out;
}

json::object step_json(const cluster::Snapshot& snapshot, const ResidencyStep& step,
                       std::string_view state) {
  const cluster::Node* node = snapshot.find_node(step.node);
  return {{"do", name(step.kind)},
          {"model", step.model},
          {"node", node == nullptr ? "removed since" : node->info.name},
          {"cause", name(step.cause)},
          {"why", step.why},
          {"state", state}};
}

json::array steps_json(const cluster::Snapshot& snapshot, const ResidencyReport& report) {
  json::array out;
  for (const ResidencyReport::UnderWay& one : report.under_way) {
    json::object step = step_json(snapshot, one.step, "under way");
    step["for_s"] = one.since_s;
    if (one.pull_total > 0) {
      step["pull_total"] = one.pull_total;
      step["pull_completed"] = one.pull_completed;
    }
    out.push_back(std::move(step));
  }
  const auto under_way = [&](const ResidencyStep& step) {
    return std::ranges::any_of(report.under_way, [&](const ResidencyReport::UnderWay& one) {
      return one.step.node == step.node && one.step.key == step.key;
    });
  };
  const bool automatic = report.mode == ResidencyOptions::Mode::automatic;
  for (const ResidencyStep& step : report.plan.steps) {
    if (!under_way(step))
      out.push_back(step_json(snapshot, step, automatic || step.asked ? "next" : "advised"));
  }
  return out;
}

json::object report_json(const cluster::Snapshot& snapshot, const ResidencyReport& report) {
  std::map<std::string, json::object> models;  // by key
  for (const ModelStanding& standing : report.plan.models)
    models.emplace(standing.key, model_json(snapshot, snapshot.find_model(standing.key), standing));
  for (const auto& [key, model] : snapshot.models) {
    if (!models.contains(key))
      models.emplace(key, model_json(snapshot, &model, routing::standing_of(snapshot, model)));
  }
  json::array list;
  for (auto& [key, model] : models) list.push_back(std::move(model));
  return {{"placement", name(report.mode)},
          {"auto_pull", report.auto_pull},
          {"models", std::move(list)},
          {"steps", steps_json(snapshot, report)}};
}

net::Task<void> answer_error(Connection& client, const Error& error) {
  const int status = error.kind == ErrorKind::not_found    ? 404
                     : error.kind == ErrorKind::overloaded ? 409
                                                           : 400;
  return answer_error(client, status, error.detail);
}

struct Wish {
  std::string key;
  std::string model;
  std::uint32_t replicas = 0;
};

Result<Wish> parse_wish(std::string_view body) {
  boost::system::error_code bad;
  const json::value parsed = json::parse(body, bad);
  if (bad || !parsed.is_object())
    return std::unexpected(bad_input(R"(body: write {"model": "llama3.2", "replicas": 2})"));
  const json::object& fields = parsed.as_object();
  const auto* model = fields.if_contains("model");
  if (model == nullptr || !model->is_string())
    return std::unexpected(bad_input("model: missing; name one in quotes"));
  Wish wish{.key = {}, .model = std::string(model->as_string())};
  const auto key = api::ModelKey::from(wish.model);
  if (!key)
    return std::unexpected(bad_input(fmt::format("model: '{}' is no model's name", wish.model)));
  wish.key = key->view();
  const auto* replicas = fields.if_contains("replicas");
  if (replicas == nullptr || !replicas->is_int64() || replicas->as_int64() < 0 ||
      replicas->as_int64() > replicas_max) {
    return std::unexpected(
        bad_input(fmt::format("replicas: must be a whole number of nodes, 0 to {}", replicas_max)));
  }
  wish.replicas = static_cast<std::uint32_t>(replicas->as_int64());
  return wish;
}

/// Why that cannot be at all.
Result<void> check(const cluster::Snapshot& snapshot, const cluster::Model* model, const Wish& wish,
                   bool may_pull) {
  if (wish.replicas == 0) return {};
  if (model == nullptr && !may_pull) {
    return std::unexpected(
        Error{ErrorKind::not_found, Origin::client, Retry::never,
              fmt::format("model '{}' is on no node; `sollol models` lists what they have, `ollama "
                          "pull` gets it, or allow that with auto_pull",
                          wish.model)});
  }
  const std::size_t most = may_pull ? snapshot.nodes.size() : model->replicas.size();
  if (wish.replicas <= most) return {};
  std::vector<std::string> owners;
  if (model != nullptr) {
    for (const cluster::Replica& replica : model->replicas)
      owners.push_back(snapshot.nodes[replica.node].info.name);
  }
  return std::unexpected(Error{
      ErrorKind::overloaded, Origin::client, Retry::never,
      may_pull ? fmt::format("replicas: {} are more than there are nodes ({})", wish.replicas, most)
               : fmt::format("replicas: {} are more than the nodes that have {}: {}; pull it "
                             "at others too, or allow that with auto_pull",
                             wish.replicas, wish.model, fmt::join(owners, ", "))});
}

}  // namespace

net::Task<void> list_models(Connection& client) {
  Shared& shared = client.worker().shared();
  auto asking = asio::co_spawn(shared.control.context(), shared.residency.report(), net::use_task);
  const ResidencyReport report = co_await std::move(asking);
  const auto view = client.worker().view();
  auto answering = answer_json(client, report_json(*view->cluster, report));
  co_await std::move(answering);
}

net::Task<void> warm_model(Connection& client) {
  auto reading = read_or_refuse(client);
  const std::optional<std::string_view> body = co_await std::move(reading);
  if (!body) co_return;
  const Result<Wish> wish = parse_wish(*body);
  if (!wish) {
    auto refusing = answer_error(client, wish.error());
    co_await std::move(refusing);
    co_return;
  }
  Work work;
  auto looking = look_for_model(client, work, wish->key);
  co_await std::move(looking);
  const cluster::Model* model = work.model;
  const bool may_pull = client.options().residency.auto_pull;
  if (const auto possible = check(*work.view->cluster, model, *wish, may_pull); !possible) {
    auto refusing = answer_error(client, possible.error());
    co_await std::move(refusing);
    co_return;
  }
  Shared& shared = client.worker().shared();
  const std::string name = model == nullptr ? wish->model : model->name;
  auto wishing =
      asio::co_spawn(shared.control.context(),
                     shared.residency.wish(wish->key, name, wish->replicas), net::use_task);
  const ResidencyReport report = co_await std::move(wishing);
  const auto view = client.worker().view();
  json::object told = report_json(*view->cluster, report);
  told["model"] = name;
  auto answering = answer_json(client, told);
  co_await std::move(answering);
}

}  // namespace sollol::gateway
