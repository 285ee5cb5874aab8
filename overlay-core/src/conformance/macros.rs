//! The macros that make one test of each promise. The promises' names stand here once more, as a macro cannot list a
//! module; a test compares.

/// Tests every promise of a [`Layer`], each by a test of its own.
///
/// `make` is called once a test with the [`Tree`] that the layer shall hold, and returns the layer with a guard that
/// is dropped after the test (a temporary directory, a server; `()` if nothing). `can` says what the layer type can
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

/// Tests every promise of an [`UpperLayer`], each by a test of its own.
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
