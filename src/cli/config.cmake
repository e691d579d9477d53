# Settings, their table and the import command: a library, so that tests can link it.
sollol_library(cli_config
  SOURCES config.cc config_flags.cc config_table.cc config_toml.cc import_command.cc
  LINKS sollol_base sollol_net sollol_discovery fmt::fmt PkgConfig::tomlplusplus CLI11::CLI11)
