// `sollol agent`: what a node's machine tells of itself.
#include <fmt/format.h>

#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <memory>
#include <thread>

#include "agent/collector.h"
#include "agent/report.h"
#include "agent/server.h"
#include "base/environment.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/systemd.h"
#include "discovery/files.h"
#include "net/address.h"
#include "net/mdns.h"
#include "net/tcp.h"

namespace sollol::cli {
namespace {

struct AgentArguments {
  std::string listen = "127.0.0.1:11436";
  std::string token_file;
  std::uint64_t connections = 32;
  bool once = false;
  bool as_json = false;
  bool announce = true;
  agent::GpuLibraries libraries = {};
};

constexpr std::string_view footer = R"(
Run it on the machines of your nodes: it tells who asks which nodes share the machine, which GPU each
works with and what else uses them. It is optional: without it a gateway uses what it can see from
outside. Who asks must show the token (setting agents.token_file); one for all machines will do.

Examples:
  sollol agent --once                            what this machine would tell, for you
  openssl rand -hex 32 > /etc/sollol/agent-token
  sollol agent --listen :11436 --token-file /etc/sollol/agent-token
  sollol agent                                   for this machine only, without a token

docs/agent.md has the report's fields and a systemd unit.)";

int fail(std::string_view message, int code) {
  fmt::print(stderr, "sollol agent: {}\n", message);
  return code;
}

/// The token of the file, else of the variable, else none.
Result<std::string> find_token(const AgentArguments& arguments) {
  const ProcessEnvironment environment;
  if (!arguments.token_file.empty()) {
    const auto text =
        discovery::read_file(discovery::expand_home(arguments.token_file, environment));
    if (!text) return std::unexpected(text.error());
    return agent::parse_token(*text);
  }
  const auto variable = environment.get("SOLLOL_AGENT_TOKEN");
  if (!variable || variable->empty()) return std::string();
  return agent::parse_token(*variable);
}

int print_once(const AgentArguments& arguments) {
  agent::Collector collector({}, arguments.libraries);
  collector.report(Clock::now(), std::chrono::system_clock::now());
  // Shares of the processor are told over a time, here the shortest there is.
  std::this_thread::sleep_for(agent::refresh_interval);
  const auto& report = collector.report(Clock::now(), std::chrono::system_clock::now());
  fmt::print("{}", arguments.as_json ? to_json(report) : to_text(report));
  return exit_done;
}

int serve_agent(const AgentArguments& arguments) {
  const auto at = net::parse_listen_address(arguments.listen);
  if (!at) return fail(at.error().detail, exit_wrong_usage);
  const auto token = find_token(arguments);
  if (!token) return fail(token.error().detail, exit_wrong_usage);
  net::asio::io_context context{1};
  net::AsioScheduler scheduler(context);
  agent::Collector collector({}, arguments.libraries);
  agent::ServerOptions options{.at = *at, .token = *token};
  options.connections_max = arguments.connections;
  const auto server =
      agent::Server::open(context, scheduler, std::move(options), [&collector, &scheduler] {
        return to_json(collector.report(scheduler.now(), scheduler.wall_now()));
      });
  if (!server) {
    const bool usage = server.error().kind == ErrorKind::bad_input;
    return fail(server.error().detail, usage ? exit_wrong_usage : exit_failed);
  }
  std::unique_ptr<net::Mdns> mdns;
  const auto tell = [](const std::string& what) { fmt::print(stderr, "sollol agent: {}\n", what); };
  if (arguments.announce && !net::is_loopback(*at)) {
    std::string why;
    mdns = net::Mdns::open(
        {.announce = net::Announcement{.service = net::agent_service,
                                       .port = (*server)->address().port,
                                       .name = "agent on " + net::own_host_name(),
                                       .texts = {fmt::format("version={}", version),
                                                 fmt::format("path={}", agent::report_path)}},
         .told = tell},
        why);
    if (mdns == nullptr) tell("not announced: " + why);
  }
  const ServiceManager manager{ProcessEnvironment()};
  net::asio::signal_set signals(context, SIGINT, SIGTERM);
  signals.async_wait([&](const boost::system::error_code& problem, int) {
    if (problem) return;
    manager.stopping("told to stop");
    (*server)->stop();  // the loop ends with the last connection's task
  });
  const auto url = fmt::format("http://{}{}", to_string((*server)->address()), agent::report_path);
  fmt::print("sollol agent: {}{}\n", url, token->empty() ? " (this machine only, no token)" : "");
  std::fflush(stdout);
  manager.ready("at " + url);
  context.run();
  return exit_done;
}

}  // namespace

void add_agent_command(CLI::App& root, Action& chosen) {
  auto* command = root.add_subcommand("agent", "On a node's machine: tell the gateway about it");
  command->footer(std::string(footer));
  auto arguments = std::make_shared<AgentArguments>();
  command
      ->add_option("--listen", arguments->listen,
                   "Where to listen; beyond this machine (\":11436\") only with a token")
      ->envname("SOLLOL_AGENT_LISTEN")
      ->type_name("ADDRESS")
      ->capture_default_str();
  command
      ->add_option("--token-file", arguments->token_file,
                   "File with the shared token; else the variable SOLLOL_AGENT_TOKEN")
      ->envname("SOLLOL_AGENT_TOKEN_FILE")
      ->type_name("FILE");
  command->add_option("--connections", arguments->connections, "Connections served at once")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--announce,!--no-announce", arguments->announce,
                    "Tell the machine's links of the agent by mDNS, where Avahi runs, so that "
                    "gateways look here; on unless told otherwise");
  command->add_flag("--once", arguments->once, "Print the report and exit");
  command->add_flag("--json", arguments->as_json, "Print the report as JSON and exit");
  command
      ->add_option("--nvml", arguments->libraries.nvml,
                   "NVIDIA's NVML library, where it is not found")
      ->type_name("FILE");
  command
      ->add_option("--rocm-smi", arguments->libraries.rocm,
                   "AMD's ROCm SMI library, where it is not found")
      ->type_name("FILE");
  command->callback([arguments, &chosen] {
    chosen = [arguments] {
      return arguments->once || arguments->as_json ? print_once(*arguments)
                                                   : serve_agent(*arguments);
    };
  });
}

}  // namespace sollol::cli
