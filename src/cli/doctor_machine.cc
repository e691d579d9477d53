// What the doctor looks at on its own machine.
#include <fmt/format.h>

#include <fstream>

#include "cli/client.h"
#include "cli/doctor_gather.h"
#include "net/links.h"
#include "net/listening.h"
#include "net/socket_owner.h"

namespace sollol::cli {

namespace {

constexpr Duration holder_answers_within = std::chrono::seconds(1);

doctor::PortHolder holder_of(const Address& at) {
  if (net::check_unused(at)) return doctor::PortHolder::nobody;
  const bool everywhere = at.ip == "0.0.0.0" || at.ip == "::";
  const Address asked{everywhere ? "127.0.0.1" : at.ip, at.port};
  const auto reply = fetch({.method = "GET",
                            .url = "http://" + to_string(asked) + "/",
                            .body = {},
                            .key = ClientRequest::Key::withheld},
                           holder_answers_within);
  if (reply && reply->from_gateway) return doctor::PortHolder::gateway;
  if (reply && reply->body.contains("Ollama is running")) return doctor::PortHolder::ollama;
  return doctor::PortHolder::other;
}

}  // namespace

void look_at_this_machine(const Settings& settings, doctor::Facts& facts) {
  doctor::OwnFact& own = facts.own;
  own.listeners = net::read_listeners();
  own.reads_listeners = std::ifstream("/proc/self/net/tcp").good();
  net::raise_descriptor_limit();  // as `sollol up` does
  own.descriptors_max = net::descriptors_max();
  own.connections = settings.limits.connections;
  const auto listen = parse_listen(settings.listen);
  if (!listen) return;
  own.listen = {listen->host == "localhost" ? "127.0.0.1" : listen->host, listen->port};
  own.holder = holder_of(own.listen);
  if (own.holder == doctor::PortHolder::nobody) return;
  const net::SocketOwner owner = net::listener_owner(own.listen);
  if (owner.pid != 0) own.holder_process = fmt::format("{} (pid {})", owner.name, owner.pid);
}

}  // namespace sollol::cli
