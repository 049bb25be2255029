// SPDX-License-Identifier: MIT
// Grammars, JSON Schemas, regular expressions and lists of choices, and matchers that follow a text in them byte by
// byte. Apart from bitnet.hpp: nothing there needs them, and they would be a tenth of what a program compiles.
#ifndef BITNET_CONSTRAIN_HPP
#define BITNET_CONSTRAIN_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/call_marks.hpp>
#include <bitnet/constrain/call_writer.hpp>
#include <bitnet/constrain/choices.hpp>
#include <bitnet/constrain/code_point_class.hpp>
#include <bitnet/constrain/compilation.hpp>
#include <bitnet/constrain/compiled_grammar.hpp>
#include <bitnet/constrain/constrained_chooser.hpp>
#include <bitnet/constrain/constrained_tools.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/expression_task.hpp>
#include <bitnet/constrain/fields.hpp>
#include <bitnet/constrain/finite_values.hpp>
#include <bitnet/constrain/forced_text.hpp>
#include <bitnet/constrain/from_json.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/grammar_compiler.hpp>
#include <bitnet/constrain/group_stack.hpp>
#include <bitnet/constrain/healed_answers.hpp>
#include <bitnet/constrain/healed_prefix.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/json_string.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/mask_bits.hpp>
#include <bitnet/constrain/mask_cache.hpp>
#include <bitnet/constrain/mask_key.hpp>
#include <bitnet/constrain/mask_walk.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/number_language.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/constrain/schema_document.hpp>
#include <bitnet/constrain/schema_draft.hpp>
#include <bitnet/constrain/schema_evaluation.hpp>
#include <bitnet/constrain/schema_key_order.hpp>
#include <bitnet/constrain/schema_languages.hpp>
#include <bitnet/constrain/schema_negations.hpp>
#include <bitnet/constrain/schema_options.hpp>
#include <bitnet/constrain/schema_outlines.hpp>
#include <bitnet/constrain/schema_parts.hpp>
#include <bitnet/constrain/schema_reader.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_source.hpp>
#include <bitnet/constrain/source_reader.hpp>
#include <bitnet/constrain/stamp_table.hpp>
#include <bitnet/constrain/state_rows.hpp>
#include <bitnet/constrain/string_format.hpp>
#include <bitnet/constrain/subset_construction.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_tree.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/constrain/tool_set.hpp>
#include <bitnet/constrain/type_schema.hpp>

#endif
