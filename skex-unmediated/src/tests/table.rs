//! Tables of many peers, with their stores and what lies between them.

mod load;
mod model;
mod orders;
mod recovery;
mod routing;
mod site;
mod untold;
