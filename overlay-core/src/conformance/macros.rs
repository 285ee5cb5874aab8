//! The macros that make one test of each promise. The promises' names stand here once more, as a macro cannot list a
//! module; a test compares.

/// Tests every promise of a [`Layer`](crate::Layer), each by a test of its own.
///
/// `make` is called once a test with the [`Tree`](crate::conformance::Tree) that the layer shall hold, and
/// returns the layer with a guard that is dropped after the test (a temporary directory, a server; `()` if nothing). `can` says what the layer type can
/// hold; without it, all.
///
/// ```
/// use std::sync::Arc;
/// use overlay_core::Layer;
/// use overlay_core::conformance::{Capabilities, Tree, layer_suite};
///
/// async fn make(tree: &Tree) -> overlay_core::Result<(Arc<dyn Layer>, ())> {
///     Ok((Arc::new(tree.to_memory("memory")?), ()))
/// }
///
/// layer_suite!(memory, make);
/// layer_suite!(memory_without_owners, make, Capabilities { owners: false, ..Capabilities::ALL });
/// ```
#[macro_export]
macro_rules! layer_suite {
    ($module:ident, $make:expr $(,)?) => {
        $crate::layer_suite!($module, $make, $crate::conformance::Capabilities::ALL);
    };
    ($module:ident, $make:expr, $can:expr $(,)?) => {
        $crate::__promises! { $module, $make, $can, check_layer, lower,
            label_is_not_empty
            root_is_a_directory
            declared_names_are_found
            lists_are_exact
            lookup_agrees_with_list
            a_walk_meets_everything
            absence_is_no_error
            odd_names_are_kept
            deep_nesting_is_reached
            dir_of_another_kind_fails
            file_of_another_kind_fails
            inode_numbers_are_unique_and_stable
            hard_links_are_one_object
            an_empty_directory_is_empty
            sizes_are_as_declared
            modes_are_as_declared
            modes_are_permissions_only
            owners_are_as_declared
            times_are_as_declared
            times_are_normalised
            devices_are_as_declared
            handles_agree_with_lookup
            links_give_their_exact_target
            read_link_of_another_kind_fails
            xattrs_are_as_declared
            absent_xattrs_are_none
            whiteouts_are_whiteouts
            opaque_directories_are_opaque
            nothing_is_redirected
            identities_tell_objects_apart
            contents_are_as_declared
            an_empty_file_is_empty
            reads_end_at_the_end
            reads_past_the_end_are_empty
            sequential_reads_join_up
            scattered_reads_are_right
            concurrent_reads_do_not_mix
            dense_files_are_all_data
            seek_ends_at_the_end
            holes_are_found
            handles_outlive_where_they_came_from
            concurrent_lookups_agree
            a_dropped_future_does_no_harm
            statfs_answers
            flags_are_answered_or_refused
        }
    };
}

/// Tests every promise of an [`UpperLayer`](crate::UpperLayer), each by a test of its own.
///
/// `make` is called once a test and returns an empty upper with a guard that is dropped after the test. `can` says
/// what the upper can hold and the process may do; without it, all.
///
/// ```
/// use std::sync::Arc;
/// use overlay_core::conformance::upper_suite;
/// use overlay_core::memory::MemoryUpper;
/// use overlay_core::UpperLayer;
///
/// upper_suite!(memory_upper, async || Ok((Arc::new(MemoryUpper::new("memory")) as Arc<dyn UpperLayer>, ())));
/// ```
#[macro_export]
macro_rules! upper_suite {
    ($module:ident, $make:expr $(,)?) => {
        $crate::upper_suite!($module, $make, $crate::conformance::Capabilities::ALL);
    };
    ($module:ident, $make:expr, $can:expr $(,)?) => {
        $crate::__promises! { $module, $make, $can, check_upper, upper,
            root_and_work_are_empty_at_first
            work_is_not_in_the_tree
            the_tree_can_be_read_as_a_layer
            create_makes_an_empty_file
            a_taken_name_is_refused
            make_makes_a_directory
            make_makes_a_symlink
            make_makes_nodes
            link_gives_a_second_name
            unlink_removes_all_but_directories
            rmdir_removes_empty_directories_only
            a_removed_directory_takes_no_names
            a_whiteout_is_a_whiteout
            opaque_is_set_and_seen
            opening_another_kind_fails
            directories_count_their_links
            sync_succeeds
            rename_moves
            rename_replaces
            rename_replaces_a_whiteout
            whiteouts_can_be_renamed
            replace_refuses_what_posix_refuses
            replace_counts_whiteouts
            no_replace_refuses_a_taken_name
            exchange_swaps
            exchange_needs_both_names
            whiteout_is_left_at_the_source
            no_directory_goes_into_itself
            renaming_to_the_same_object_does_nothing
            rename_crosses_directories
            rename_publishes_from_work
            handles_survive_renames
            files_survive_being_replaced
            foreign_directories_are_refused
            writes_are_read_everywhere
            writes_beyond_the_end_leave_zeros
            empty_writes_change_nothing
            large_writes_are_whole
            concurrent_writes_do_not_mix
            files_outlive_unlink
            seek_finds_what_is_written
            allocations_do_what_they_say
            reserved_space_reads_as_zeros
            copy_range_copies
            copy_range_takes_foreign_files
            reflink_is_all_or_nothing
            offsets_have_an_end
            modes_are_set
            owners_are_set
            times_are_set
            times_of_links_are_set
            now_is_now
            sizes_are_set
            an_empty_change_changes_nothing
            attributes_are_set_together
            attributes_of_absent_names_fail
            changes_move_the_times
            attribute_changes_move_ctime_only
            xattrs_are_set_and_removed
            pins_outlive_unlink
            pins_follow_renames
            pins_hold_links_themselves
            files_set_their_attributes
            flags_are_set_or_refused
            marks_are_read_back
            the_index_lies_beside_the_tree
        }
    };
}

/// One module with one test a promise.
#[doc(hidden)]
#[macro_export]
macro_rules! __promises {
    ($module:ident, $make:expr, $can:expr, $check:ident, $path:ident, $($promise:ident)*) => {
        #[cfg(test)]
        mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                fn $promise() {
                    let promise = stringify!($promise);
                    $crate::conformance::$check(promise, $can, $make, $crate::conformance::$path::$promise);
                }
            )*
        }
    };
}
