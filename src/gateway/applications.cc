#include "gateway/applications.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "api/errors.h"
#include "api/timestamp.h"
#include "gateway/admin_answer.h"
#include "gateway/worker.h"

namespace sollol::gateway {

namespace json = boost::json;

namespace {

constexpr std::size_t body_max = 4096;
constexpr std::size_t text_max = 256;

Result<std::string> text_of(const json::object& fields, std::string_view key) {
  const json::value* value = fields.if_contains(key);
  if (value == nullptr) return std::string();
  const bool sound = value->is_string() && value->as_string().size() <= text_max;
  if (!sound) {
    return std::unexpected(
        bad_input(fmt::format("{}: must be text of at most {} bytes", key, text_max)));
  }
  return std::string(value->as_string());
}

net::Task<void> note_application(Connection& client) {
  auto reading = read_or_refuse(client, body_max);
  const std::optional<std::string_view> body = co_await std::move(reading);
  if (!body) co_return;
  Result<Application> told = parse_application(*body);
  if (!told) {
    auto refusing = client.answer(
        api::error_reply(api::Dialect::native, 400, told.error().detail, client.request().id));
    co_await std::move(refusing);
    co_return;
  }
  told->address = client.request().client;
  told->since = client.worker().scheduler().wall_now();
  json::object noted{{"name", told->name}};
  client.worker().shared().applications.note(*std::move(told));
  auto answering = answer_json(client, noted, 201);
  co_await std::move(answering);
}

net::Task<void> list_applications(Connection& client) {
  json::array all;
  for (const Application& one : client.worker().shared().applications.newest_first()) {
    all.push_back(json::object{{"name", one.name},
                               {"host", one.host},
                               {"pid", one.pid},
                               {"address", one.address},
                               {"since", api::format_timestamp(one.since)}});
  }
  return answer_json(client, json::object{{"applications", std::move(all)}});
}

}  // namespace

void Applications::note(Application application) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(all_, [&](const Application& known) {
    return known.name == application.name && known.host == application.host &&
           known.pid == application.pid;
  });
  if (all_.size() == kept_max) all_.erase(all_.begin());
  all_.push_back(std::move(application));
}

std::vector<Application> Applications::newest_first() const {
  const std::scoped_lock lock(mutex_);
  return {all_.rbegin(), all_.rend()};
}

Result<Application> parse_application(std::string_view body) {
  boost::system::error_code bad;
  const json::value parsed = json::parse(body, bad);
  if (bad || !parsed.is_object())
    return std::unexpected(bad_input(R"(the body must be JSON: {"name":"My Application"})"));
  const json::object& fields = parsed.as_object();
  Result<std::string> name = text_of(fields, "name");
  if (!name) return std::unexpected(name.error());
  if (name->empty()) return std::unexpected(bad_input("name: it must not be empty"));
  Result<std::string> host = text_of(fields, "host");
  if (!host) return std::unexpected(host.error());
  Application application{.name = *std::move(name), .host = *std::move(host)};
  if (const json::value* pid = fields.if_contains("pid")) {
    if (!pid->is_int64()) return std::unexpected(bad_input("pid: must be a whole number"));
    application.pid = pid->as_int64();
  }
  return application;
}

net::Task<void> serve_applications(Connection& client) {
  return client.request().method == "POST" ? note_application(client) : list_applications(client);
}

}  // namespace sollol::gateway
