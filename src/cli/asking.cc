#include "cli/asking.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/json_fields.h"

namespace sollol::cli {

void add_asking_flags(CLI::App& app, Asking& asking) {
  app.add_option(
         "--gateway", asking.gateway,
         "Where the gateway is; default SOLLOL_GATEWAY, OLLAMA_HOST, http://127.0.0.1:11434")
      ->type_name("URL");
  app.add_flag("--json", asking.as_json, "Print the gateway's own JSON");
}

int complain(const std::string& gateway, const Error& error) {
  fmt::print(stderr,
             "sollol: no gateway answers at {}: {}\n  start one with `sollol up`, or name it with "
             "--gateway URL\n",
             gateway, error.detail);
  return exit_failed;
}

int ask(const Asking& asking, std::string method, const std::string& path, std::string body,
        const std::function<int(const boost::json::object&)>& print) {
  const std::string gateway = gateway_url(asking.gateway);
  const auto reply = fetch(
      {.method = std::move(method), .url = gateway + path, .body = std::move(body)}, answer_limit);
  if (!reply) return complain(gateway, reply.error());
  if (reply->status >= 400) {
    const bool foreign =
        reply->status == 404 && path.starts_with("/sollol/") && reply->body.contains("404 page");
    fmt::print(stderr, "sollol: {}\n",
               foreign ? gateway + " is not a SOLLOL gateway" : error_of(reply->body));
    return exit_failed;
  }
  if (asking.as_json) {
    fmt::print("{}", reply->body);
    return exit_done;
  }
  return print(boost::json::parse(reply->body).as_object());
}

}  // namespace sollol::cli
