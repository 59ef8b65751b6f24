//! Oracle Commerce's Admin API for collections.
